"""Decoding: one token after another, by sampling or by beam search."""
