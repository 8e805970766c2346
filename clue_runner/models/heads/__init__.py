"""Heads: what stands on an encoder for a kind of task, its loss and its answer."""
