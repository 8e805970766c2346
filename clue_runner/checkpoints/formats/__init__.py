"""Formats of weight files, one reader each: data alone is read, and nothing in a file is ever run."""
