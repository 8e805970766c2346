"""Bytes and names that can be relied on: whole files, locks, tensors, litter. Knows nothing about runs."""
