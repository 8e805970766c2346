"""Generates a text from one or two others: keywords from an abstract, a question from an answer."""

from clue_runner.adapters.generation.adapter import Generation

__all__ = ["Generation"]
