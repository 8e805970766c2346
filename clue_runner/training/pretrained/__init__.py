"""Pretrained weights on their way into a network."""
