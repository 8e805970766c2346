"""Turns predictions into the exact bytes that the leaderboard accepts, and explains scores of 0."""
