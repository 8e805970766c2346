"""A network that writes one token after another: its cache of keys and values, and the next token's logits.

In: a backbone, token ids, the cache. Out: logits of what comes next, the longer cache.
Knows nothing about which token is then taken.
"""

from __future__ import annotations

from typing import Any

from keras import ops

from clue_runner.models.attention import KeyValues


def empty_cache(backbone: Any, rows: int, length: int) -> tuple[KeyValues, ...]:
    """Return a cache of ``length`` places for each row, none of them taken.

    Args:
        backbone: whose layers it is for.
        rows: of the batch.
        length: the most tokens that a row can have.
    """
    heads = backbone.options.num_heads
    shape = (rows, heads, length, backbone.width // heads)
    ids = None
    if backbone.embeddings.positions.in_attention:
        ids = ops.zeros((1, length), "int32")
    dtype = backbone.compute_dtype
    return tuple(
        KeyValues(ops.zeros(shape, dtype), ops.zeros(shape, dtype), ids, ops.zeros((), "int32"))
        for _ in backbone.blocks
    )
