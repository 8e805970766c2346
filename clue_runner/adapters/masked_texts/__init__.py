"""Running text with masked tokens, as a separate task."""

from clue_runner.adapters.masked_texts.adapter import MaskedTexts

__all__ = ["MaskedTexts"]
