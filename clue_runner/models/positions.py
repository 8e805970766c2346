"""How a network knows a token's position: added to the embedding, or inside attention.

There it rotates query and key, adds scores, or shifts values.
In: lengths or explicit position ids. Out: float32 vectors, rotated queries and keys, scores, or shifts.
Knows nothing about words or how attention is computed.

A family gives its network one ``Positions``; what it does not override costs nothing. Learned positions are
one table of vectors. Stretched (hierarchical) positions give place k = i * n + j the vector
p_j + a / (1 - a) * (p_i - p_0). It is linear in the table, so that a pre-trained table is used and trained as
it is, and the first n places are the table's rows themselves. At a = 1/2 the places (i, j) and (j, i) would
have one vector.

Source: kexue.fm/archives/7947.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from keras import ops

from clue_runner.models.kernels import Moved


class Positions:
    """Positions that tell nothing; families override the hooks that theirs use.

    Attributes:
        in_attention: ``rotate``, ``scores`` or ``moved`` do something, so that ids reach every block.
        adds_scores: ``scores`` or ``moved`` do something, which the fused kernel cannot.
    """

    in_attention = False
    adds_scores = False

    def create(self, weight: Callable[..., Any], width: int) -> None:
        """Make the tables of what is added to the embedding.

        Args:
            weight: ``Part.weight`` of the embeddings.
            width: of an embedded token.
        """

    def embedded(self, length: Any, position_ids: Any | None) -> Any | None:
        """Return what is added to the word vectors, (1 or rows, length, width) float32, or None.

        Args:
            length: tokens in a row; a number, or a tensor where a graph serves any length.
            position_ids: (rows, length) int32; None: 0, 1, 2, ...
        """
        return None

    def rotate(self, query: Any, key: Any, query_ids: Any, key_ids: Any) -> tuple[Any, Any]:
        """Return query and key rotated by the positions of their tokens.

        Args:
            query: (rows, heads, queries, head width).
            key: (rows, heads, keys, head width).
            query_ids: (1 or rows, queries) int32.
            key_ids: (1 or rows, keys) int32.
        """
        return query, key

    def scores(self, query: Any, key: Any, query_ids: Any, key_ids: Any) -> Any | None:
        """Return what is added to the scores, (1 or rows, 1 or heads, 1 or queries, keys) float32, or None.

        Arguments as in ``rotate``. Gradients flow through it into whatever it was made from.
        """
        return None

    def moved(self, query_ids: Any, key_ids: Any, dtype: str) -> Moved | None:
        """Return what values are moved by on their way to each query, or None.

        Args:
            query_ids: as in ``rotate``.
            key_ids: as in ``rotate``.
            dtype: that attention computes in.
        """
        return None


class LearnedPositions(Positions):
    """One vector a position, added to the embedding.

    Args:
        rows: of the table.
        alpha: None reads the table alone; a number stretches it to ``rows`` squared.
    """

    def __init__(self, rows: int, alpha: float | None = None) -> None:
        self.rows, self.alpha = rows, alpha

    def create(self, weight: Callable[..., Any], width: int) -> None:
        """Make the table."""
        self.table = weight("position", (self.rows, width))

    def embedded(self, length: Any, position_ids: Any | None) -> Any:
        """Return the vectors of the places."""
        return position_vectors(ops.convert_to_tensor(self.table), length, position_ids, alpha=self.alpha)


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
    """Return what the block of n places that an id is in adds to the vector within the block."""
    return (ops.take(table, position_ids // table.shape[0], axis=0) - table[0]) * (alpha / (1 - alpha))
