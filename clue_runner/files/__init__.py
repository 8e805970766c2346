"""Bytes that are whole: atomic writes, locks, tensors on disk. Knows nothing about runs."""
