"""Finds pieces of a vocabulary that no text can produce, because text is cleaned and split before matching.

In: pieces, and the functions that clean a text and split it into words. Out: the pieces that cannot be made,
by the reason. Knows nothing about files.

A few of them are harmless: Google's own Chinese vocabulary has four. Many indicate a vocabulary of another
tokenizer or of the other case, whose rows of the token embeddings are then never used.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

CONTINUING = "##"
RESERVED = re.compile(r"\[[^\[\]\s]+\]")  # [CLS], [unused1]: put into rows by their ids, never found in text
GOOGLES = frozenset({"<S>", "<T>", "...", "\u2028", "##\u2028"})  # in the 21,128 pieces of every Chinese BERT

BLANK = "with white space or control characters"
IDEOGRAPHS = "with an ideograph beside other characters"
CASE = "with capitals or accents, which lowercase=true removes"
PUNCTUATION = "with punctuation beside other characters"
SHOWN = 3


def unreachable_pieces(
    pieces: Iterable[str], clean: Callable[[str], str], split: Callable[[str], Sequence[str]]
) -> dict[str, list[str]]:
    """Return reason -> pieces that no text can produce.

    Args:
        pieces: the vocabulary.
        clean: what happens to a text first (white space, case, accents).
        split: a cleaned text's words; WordPiece only ever matches within one of them.
    """
    known = set(pieces)
    unreachable: dict[str, list[str]] = {}
    for piece in known - GOOGLES:
        if not piece or RESERVED.fullmatch(piece):
            continue
        prefix = CONTINUING if piece.startswith(CONTINUING) and piece != CONTINUING else ""
        word = piece.removeprefix(prefix)
        words = list(split(clean(word)))
        # A letter beside its small form, as in a vocabulary for both cases, takes nothing from a text.
        if words == [word] or (len(word) == 1 and len(words) == 1 and prefix + words[0] in known):
            continue
        unreachable.setdefault(_reason(word, words, clean), []).append(piece)
    return {reason: sorted(unreachable[reason]) for reason in sorted(unreachable)}


def unreachable_notice(unreachable: dict[str, list[str]], total: int, path: Path) -> str | None:
    """Return the sentence about a vocabulary's unreachable pieces; None where it has none."""
    count = sum(map(len, unreachable.values()))
    if not count:
        return None
    parts = (
        f"{len(pieces):,} {reason} ({', '.join(map(repr, pieces[:SHOWN]))}{', ...' * (len(pieces) > SHOWN)})"
        for reason, pieces in unreachable.items()
    )
    capitals = any(character.isupper() for piece in unreachable.get(CASE, ()) for character in piece)
    cased = "; for a cased model: --set model.lowercase=false" if capitals else ""
    return f"{path}: {count:,} of {total:,} pieces never occur in tokenised text: {'; '.join(parts)}{cased}"


def _reason(word: str, words: Sequence[str], clean: Callable[[str], str]) -> str:
    if any(character.isspace() or unicodedata.category(character).startswith("C") for character in word):
        return BLANK
    if len(words) < 2:
        return CASE
    # Cleaning puts spaces around every ideograph, which makes it a separate word.
    return IDEOGRAPHS if any(clean(part) == f" {part} " for part in words) else PUNCTUATION
