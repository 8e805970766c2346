"""Spans of tokens as one tag per token, and back; the best sequence of tags.

In: spans, or scores of tags. Out: tags, spans. Knows nothing about names of types, characters or tensors.

Tags are BIO: 0 outside, 1 + 2 k the first token of a span of type k, 2 + 2 k a later one. The first token
always has its own tag, without which neighbours of one type would merge.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
TagArray = NDArray[np.int32]
OUTSIDE = 0


class TokenSpan(NamedTuple):
    """Tokens ``first`` to ``last``, both inclusive, and the number of their type."""

    type: int
    first: int
    last: int


def tag_count(types: int) -> int:
    """Return the number of tags for ``types`` types."""
    return 1 + 2 * types


def spans_to_tags(spans: Iterable[TokenSpan], count: int) -> tuple[TagArray, int]:
    """Return (count,) int32 tags, and how many spans were left out.

    A token has one tag, so of spans that share a token only the longest stays, or the first of equal ones.
    """
    tags = np.zeros(count, np.int32)
    left_out = 0
    for span in sorted(spans, key=lambda span: (span.first - span.last, span.first)):
        place = slice(span.first, span.last + 1)
        if tags[place].any():
            left_out += 1
            continue
        tags[place] = 2 + 2 * span.type
        tags[span.first] -= 1
    return tags, left_out


def tags_to_spans(tags: Sequence[int] | TagArray) -> list[TokenSpan]:
    """Return the spans of a legal sequence of tags, in order.

    Raises:
        ValueError: the tag of a later token does not follow a token of its type.
    """
    spans: list[TokenSpan] = []
    previous = OUTSIDE
    for place, tag in enumerate([int(tag) for tag in tags]):
        if tag % 2:
            spans.append(TokenSpan((tag - 1) // 2, place, place))
        elif tag != OUTSIDE:
            if previous not in {tag - 1, tag}:
                raise ValueError(f"tag {tag} at {place} follows {previous}")
            spans[-1] = spans[-1]._replace(last=place)
        previous = tag
    return spans


def legal_steps(tags: int) -> NDArray[np.bool_]:
    """Return (tags, tags), true where the column's tag may follow the row's; a text begins at ``OUTSIDE``."""
    before, after = np.indices((tags, tags))
    later = (after > 0) & (after % 2 == 0)
    return np.asarray(~later | (before == after) | (before == after - 1), np.bool_)


def best_tags(
    scores: FloatArray,
    counts: Sequence[int] | NDArray[np.integer],
    transitions: FloatArray | None = None,
    start: FloatArray | None = None,
    end: FloatArray | None = None,
) -> list[TagArray]:
    """Return each row's legal sequence of tags with the highest sum of scores (Viterbi's algorithm).

    Args:
        scores: (rows, length, tags).
        counts: (rows,) tokens in each row.
        transitions: (tags, tags) scores of going from the row's tag to the column's; None for 0 where legal.
        start: (tags,) added to the scores of the first token.
        end: (tags,) added to the scores of the last token.
    """
    rows, length, tags = scores.shape
    counts = np.asarray(counts)
    legal = legal_steps(tags)
    steps = np.where(legal, np.zeros((tags, tags)) if transitions is None else transitions, -np.inf)
    reached = scores[:, 0].astype(np.float64) + (0 if start is None else start)
    reached[:, ~legal[OUTSIDE]] = -np.inf
    origins = np.zeros((rows, length, tags), np.int32)
    for place in range(1, length):
        paths = reached[:, :, None] + steps
        origins[:, place] = paths.argmax(axis=1)
        moved = paths.max(axis=1) + scores[:, place]
        reached = np.where((place < counts)[:, None], moved, reached)
    tag = (reached + (0 if end is None else end)).argmax(axis=1)
    best = np.zeros((rows, length), np.int32)
    for place in range(length - 1, -1, -1):
        inside = place < counts
        best[inside, place] = tag[inside]
        if place:
            tag = np.where(inside, origins[np.arange(rows), place, tag], tag)
    return [best[row, : int(count)] for row, count in enumerate(counts)]
