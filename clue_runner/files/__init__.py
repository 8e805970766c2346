"""Reliable bytes and names: complete files, locks, tensors, litter. Knows nothing about runs."""
