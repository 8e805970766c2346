"""Spans of characters as spans of tokens, and back.

In: one text's ``Encoded`` and a span. Out: the span in the other unit, or None where there is none.
Both ends of every span are inclusive, as in CLUENER. Knows nothing about entities or answers.
"""

from __future__ import annotations

import numpy as np

from clue_runner.tokens.tokenizer import Encoded


def chars_to_tokens(encoded: Encoded, first: int, last: int) -> tuple[int, int] | None:
    """Return the first and last token of exactly these characters.

    None where token boundaries cannot express the span: it begins or ends inside a token (``iPhone`` in
    ``iPhone7``), or on a character without a token (a space, a control character, a lone accent).
    """
    if last < first:
        return None
    # One character may become several tokens (a Hangul syllable is decomposed): take all of them.
    first_token = int(np.searchsorted(encoded.starts, first, side="left"))
    last_token = int(np.searchsorted(encoded.ends, last + 1, side="right")) - 1
    if first_token >= len(encoded) or last_token < first_token:
        return None
    if encoded.starts[first_token] != first or encoded.ends[last_token] != last + 1:
        return None
    return first_token, last_token


def covering_tokens(encoded: Encoded, first: int, last: int) -> tuple[int, int] | None:
    """Return the first and last token that touch these characters; None where no token does.

    The result of ``chars_to_tokens`` where it has one, else the nearest span that can be learned.
    """
    first_token = int(np.searchsorted(encoded.ends, first, side="right"))
    last_token = int(np.searchsorted(encoded.starts, last, side="right")) - 1
    return (first_token, last_token) if first_token <= last_token else None


def tokens_to_chars(encoded: Encoded, first: int, last: int) -> tuple[int, int]:
    """Return the first and last character of a token span.

    Raises:
        IndexError: the span is empty or exceeds the text's tokens.
    """
    if not 0 <= first <= last < len(encoded):
        raise IndexError(f"tokens {first} to {last} of {len(encoded)}")
    return int(encoded.starts[first]), int(encoded.ends[last]) - 1
