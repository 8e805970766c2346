"""The average-loss theorem of projected SGD, watched on a convex problem with real data."""
