"""Train, score and submit for CLUE."""

__version__ = "0.1.0"
