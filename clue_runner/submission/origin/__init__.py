"""Finds the run that made a submission file."""
