"""Running text with masked tokens, as a task of its own."""

from clue_runner.adapters.masked_texts.adapter import MaskedTexts

__all__ = ["MaskedTexts"]
