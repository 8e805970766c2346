"""What ``clue generate`` does: a decoder goes on with a text."""
