"""Whole benchmarks: many runs from one file, executed where they are missing, collected into one table."""
