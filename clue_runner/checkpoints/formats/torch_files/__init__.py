"""PyTorch's weights (``pytorch_model.bin``, ``.pt``), read by an interpreter that calls nothing."""
