"""Records to rows to batches: ids and character offsets. Knows nothing about tasks."""
