"""Networks on batches: the backbone and its parts. Knows nothing about text."""
