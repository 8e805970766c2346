"""Loads pre-trained weights into a network."""
