"""What a training step needs, and the batch size that fits. Knows nothing about run folders."""
