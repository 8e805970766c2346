"""Where a token stands: the learned table of absolute positions.

In: a length, or explicit position ids. Out: float32 vectors to add to the word vectors.
Knows nothing about words or attention.
"""

from __future__ import annotations

from typing import Any

from keras import ops


def position_vectors(table: Any, length: Any, position_ids: Any | None) -> Any:
    """Return (1, length, width) from the first rows of ``table``, or (rows, length, width) by id."""
    if position_ids is not None:
        return ops.take(table, position_ids, axis=0)
    return table[None, :length]
