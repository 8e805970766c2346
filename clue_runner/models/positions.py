"""Where a token stands: the learned table of absolute positions, or that table stretched to its square.

In: a table of n vectors, and a length or explicit position ids. Out: float32 vectors to add to the word
vectors. Knows nothing about words or attention.

Stretched (hierarchical) positions give place k = i * n + j the vector p_j + a / (1 - a) * (p_i - p_0). It is
linear in the table, so that a pretrained table is used and trained as it is, and the first n places are the
table's rows themselves. At a = 1/2 the places (i, j) and (j, i) would have one vector.

Source: kexue.fm/archives/7947.
"""

from __future__ import annotations

from typing import Any

from keras import ops


def position_vectors(
    table: Any, length: Any, position_ids: Any | None = None, *, alpha: float | None = None
) -> Any:
    """Return (1, length, width), or (rows, length, width) by id.

    Args:
        table: (n, width) float32.
        length: tokens in a row; a number, or a tensor where a graph serves any length.
        position_ids: (rows, length) int32; None: 0, 1, 2, ...
        alpha: None reads the table alone, which must then be long enough; a number reads up to n * n places.
    """
    if position_ids is not None:
        if alpha is None:
            return ops.take(table, position_ids, axis=0)
        # chosen, not added as 0: the first n places then keep every bit, and so do their gradients
        inside = ops.expand_dims(position_ids < table.shape[0], -1)
        place = ops.take(table, position_ids % table.shape[0], axis=0)
        return ops.where(inside, place, place + _block_shift(table, position_ids, alpha))
    size = table.shape[0]
    if alpha is None or (isinstance(length, int) and length <= size):
        return table[None, :length]
    beyond = ops.arange(size, ops.maximum(length, size) if not isinstance(length, int) else length)
    stretched = ops.take(table, beyond % size, axis=0) + _block_shift(table, beyond, alpha)
    return ops.concatenate([table[:length], stretched], axis=0)[None]


def _block_shift(table: Any, position_ids: Any, alpha: float) -> Any:
    """Return what the block of n places that an id stands in adds to the vector within the block."""
    return (ops.take(table, position_ids // table.shape[0], axis=0) - table[0]) * (alpha / (1 - alpha))
