"""Batches to tensors: the backbone and its parts. Knows nothing about text."""
