"""The memory of a training step, and the batch size that fits. Knows nothing about run folders."""
