"""Joins pieces to text: Chinese without spaces, words of letters with spaces, one piece after the other.

In: pieces as they are generated. Out: what each adds to the text, so that a text can be shown while it grows.
Knows nothing about ids or networks.

WordPiece forgets where spaces were. Here one is put between two pieces of letters or digits that are not
parts of one word, and after a comma or a stop that follows a word of letters; none beside Chinese.
"""

from __future__ import annotations

from collections.abc import Iterable

PART = "##"
STOPS = ",.;:!?"


class Joiner:
    """A text that grows piece by piece."""

    def __init__(self, text: str = "") -> None:
        self.text = text

    def add(self, piece: str) -> str:
        """Return what a piece adds to the text, its space before it included."""
        added = piece.removeprefix(PART) if piece.startswith(PART) and piece != PART else piece
        if added is piece and self._apart(piece):
            added = f" {piece}"
        self.text += added
        return added

    def _apart(self, piece: str) -> bool:
        """Return whether a space is before a piece that begins a word."""
        before, first = self.text, piece[:1]
        if not before or not _is_letter(first):
            return False
        if before[-1] in STOPS:
            return first.isalpha() and len(before) > 1 and before[-2].isalpha() and _is_letter(before[-2])
        return _is_letter(before[-1])


def joined(pieces: Iterable[str]) -> str:
    """Return the text of pieces."""
    joiner = Joiner()
    for piece in pieces:
        joiner.add(piece)
    return joiner.text


def _is_letter(character: str) -> bool:
    """Return whether a character belongs to words that are written apart: letters and digits, not Chinese."""
    return character.isalnum() and ord(character) < 0x2E80
