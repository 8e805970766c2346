"""Formats of weight files, one reader each: only data is read, and nothing in a file is ever run."""
