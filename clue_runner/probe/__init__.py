"""The average-loss theorem of projected SGD, demonstrated on a convex problem with real data."""
