"""Families of networks, one folder each: shape, tensor names, network. A folder here is found by name."""
