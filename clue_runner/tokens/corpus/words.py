"""Tokens of running text, and at which of them a word begins.

In: texts, a tokenizer. Out: ids, and a mark for each token that begins a word. Knows nothing about rows.

Words are jieba's, so that all characters of one are masked together; pieces of WordPiece that go on with a
word (##) never begin one.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clue_runner.tokens.characters import open_segmenter
from clue_runner.tokens.pieces import CONTINUING
from clue_runner.tokens.rows import Array
from clue_runner.tokens.tokenizer import Encoded, Tokenizer

Marks = NDArray[np.uint8]


class WordMarker:
    """Cuts texts into tokens and says where words begin.

    Args:
        tokenizer: the vocabulary at work.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        pieces = tokenizer.vocabulary.pieces
        self._goes_on = np.array([piece.startswith(CONTINUING) for piece in pieces], np.bool_)

    def encode(self, texts: Sequence[str]) -> list[tuple[Array, Marks]]:
        """Return (ids, marks) of each text."""
        encoded = self.tokenizer.encode_texts(texts)
        return [(one.ids, self._marks(text, one)) for text, one in zip(texts, encoded, strict=True)]

    def encode_documents(self, documents: Sequence[Sequence[str]]) -> list[tuple[Array, Marks]]:
        """Return (ids, marks) of each document, its paragraphs one after the other."""
        found = iter(self.encode([text for document in documents for text in document]))
        encoded = []
        for document in documents:
            parts = [next(found) for _ in document]
            encoded.append(
                (np.concatenate([ids for ids, _ in parts]), np.concatenate([marks for _, marks in parts]))
            )
        return encoded

    def _marks(self, text: str, encoded: Encoded) -> Marks:
        begins = np.zeros(len(text) + 1, np.uint8)
        lengths = [len(word) for word in _segmenter().cut(text)]
        begins[np.cumsum([0, *lengths[:-1]])] = 1
        marks = begins[encoded.starts]
        marks[self._goes_on[encoded.ids]] = 0
        return marks


@cache
def _segmenter() -> Any:
    """Return the one segmenter of this process: its dictionary takes a second to parse."""
    return open_segmenter()
