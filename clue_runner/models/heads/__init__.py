"""Heads: the layers on top of an encoder for a kind of task, their loss and their answer."""
