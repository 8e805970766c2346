"""Settings: YAML with line numbers, layers, one frozen Run. Knows nothing about tensors."""
