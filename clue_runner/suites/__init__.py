"""Whole benchmarks: many runs from one file; missing ones are executed, all collected into one table."""
