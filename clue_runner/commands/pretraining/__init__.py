"""The outcome of pre-training: a checkpoint folder and its card."""
