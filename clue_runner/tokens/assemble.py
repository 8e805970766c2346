"""Rows assembled from token arrays that are already encoded and cut: ``[CLS] A [SEP] B [SEP] ...``.

In: the parts of each row, which may share arrays. Out: flat arrays as ``Rows`` holds them.
Knows nothing about text, tasks or tensors. The caller encodes a text that many rows share once; only
references to it are held here, for one chunk of rows at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Literal

import numpy as np

from clue_runner.tokens.rows import IntArray
from clue_runner.tokens.tokenizer import TokenArray, Tokenizer

Parts = Sequence[TokenArray]
_CHUNK = 8192  # rows whose parts are held at a time


def assemble(
    count: int,
    parts_of: Callable[[int], Parts],
    tokenizer: Tokenizer,
    segments: Literal["real", "zero"] = "real",
) -> tuple[IntArray, TokenArray, TokenArray]:
    """Return (rows + 1,) int64 offsets, (tokens,) int32 token ids and segment ids.

    Args:
        count: number of rows.
        parts_of: returns the parts of row i, without special tokens; called twice per row, so that the
            parts of all rows need not be held at once.
        tokenizer: gives [CLS] and [SEP].
        segments: ``real``: 0 for [CLS] A [SEP] and 1 for what follows; ``zero``: 0 throughout.
    """
    lengths = np.fromiter(
        (1 + sum(len(part) + 1 for part in parts_of(row)) for row in range(count)), np.int64, count=count
    )
    offsets = np.concatenate(([0], np.cumsum(lengths))).astype(np.int64)
    token_ids = np.empty(int(offsets[-1]), np.int32)
    segment_ids = np.zeros(int(offsets[-1]), np.int32)
    start = np.array([tokenizer.cls_id], np.int32)
    end = np.array([tokenizer.sep_id], np.int32)
    for first in range(0, count, _CHUNK):
        last = min(first + _CHUNK, count)
        rows = [parts_of(row) for row in range(first, last)]
        place = slice(int(offsets[first]), int(offsets[last]))
        np.concatenate(list(_pieces(rows, start, end)), out=token_ids[place])
        if segments == "real":
            heads = np.fromiter((len(parts[0]) + 2 for parts in rows), np.int64, count=len(rows))
            runs = np.stack([heads, lengths[first:last] - heads], axis=1).ravel()
            segment_ids[place] = np.repeat(np.tile(np.array([0, 1], np.int32), len(rows)), runs)
    return offsets, token_ids, segment_ids


def shorten(lengths: Sequence[int], room: int) -> list[int]:
    """Return how many tokens of each part fit: the longest part gives up its last token until all do.

    Of two equally long parts the later one gives up its token first, as in BERT.

    Examples:
        >>> shorten([9, 3, 4], 10)
        [3, 3, 4]
        >>> shorten([5, 5], 7)
        [4, 3]
    """
    kept = list(lengths)
    excess = sum(kept) - max(room, 0)
    while excess > 0:
        longest = max(range(len(kept)), key=lambda place: (kept[place], place))
        next_longest = max((length for place, length in enumerate(kept) if place != longest), default=0)
        step = min(excess, max(1, kept[longest] - next_longest))
        kept[longest] -= step
        excess -= step
    return kept


def _pieces(rows: Sequence[Parts], start: TokenArray, end: TokenArray) -> Iterator[TokenArray]:
    """Yield [CLS], a part, [SEP], a part, [SEP] ... of all rows."""
    for parts in rows:
        yield start
        for part in parts:
            yield part
            yield end
