"""What ``clue generate`` does: a decoder continues a text."""
