"""Fixed positions: sines and cosines that rotate query and key, or encode distances.

In: position ids. Out: rotated queries and keys, scores, shifts. Knows nothing about weights or families.

Rotary positions rotate each pair of neighbours (2i, 2i + 1) of query and key by an angle of
place * 10000^(-2i/w), so that their product depends on the distance alone. Relative positions look a
distance, cut at a limit, up in a table of sines (2i) and cosines (2i + 1); the row is added to the key and to
the value that a query sees.

Sources: kexue.fm/archives/8265; arXiv 1803.02155 and 1909.00204.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import ops
from numpy.typing import NDArray

from clue_runner.models.kernels import Moved, by_distance
from clue_runner.models.positions import Positions

BASE = 10_000.0


class RotaryPositions(Positions):
    """Queries and keys rotated by the positions of their tokens."""

    in_attention = True

    def rotate(self, query: Any, key: Any, query_ids: Any, key_ids: Any) -> tuple[Any, Any]:
        """Return query and key rotated; computed in float32."""
        return _turned(query, query_ids), _turned(key, key_ids)


class RelativePositions(Positions):
    """A fixed vector for each distance, added to keys and values.

    Args:
        limit: larger distances count as this one.
        width: width of a head.
    """

    in_attention = True
    adds_scores = True

    def __init__(self, limit: int, width: int) -> None:
        self.limit, self.table = limit, sinusoids(2 * limit + 1, width)

    def scores(self, query: Any, key: Any, query_ids: Any, key_ids: Any) -> Any:
        """Return the products of queries with the vectors of distances."""
        moved = self.moved(query_ids, key_ids, query.dtype)
        return ops.cast(by_distance(query, moved.vectors(), "width"), "float32")

    def moved(self, query_ids: Any, key_ids: Any, dtype: str) -> Moved:
        """Return the rows of the table by distance."""
        distances = key_ids[:, None, :] - query_ids[:, :, None]
        index = ops.clip(distances, -self.limit, self.limit) + self.limit
        return Moved(ops.cast(index[:, None], "float32"), ops.convert_to_tensor(self.table, dtype=dtype))


def sinusoids(rows: int, width: int) -> NDArray[np.float32]:
    """Return (rows, width): sines in even columns, cosines in odd ones."""
    angles = np.arange(rows)[:, None] * _frequencies(width)
    return np.stack([np.sin(angles), np.cos(angles)], axis=-1).reshape(rows, width).astype(np.float32)


def _frequencies(width: int) -> NDArray[np.float64]:
    """Return (width / 2,): radians per position."""
    return BASE ** (-2 * np.arange(width // 2) / width)


def _turned(vectors: Any, ids: Any) -> Any:
    """Return (rows, heads, tokens, width) rotated by their positions, (1 or rows, tokens)."""
    rates = ops.convert_to_tensor(_frequencies(vectors.shape[-1]).astype(np.float32))
    angles = (ops.cast(ids, "float32")[:, :, None] * rates)[:, None]
    sine, cosine = ops.sin(angles), ops.cos(angles)
    even, odd = (ops.cast(vectors[..., start::2], "float32") for start in (0, 1))
    pairs = ops.stack([even * cosine - odd * sine, odd * cosine + even * sine], axis=-1)
    return ops.cast(ops.reshape(pairs, ops.shape(vectors)), vectors.dtype)
