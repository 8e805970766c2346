"""What a token may see where it must not see all: the tokens before it, or a whole source and those.

In: lengths. Out: boolean masks as ``Backbone`` takes them. Knows nothing about words or layers.
"""

from __future__ import annotations

from typing import Any

from keras import ops


def causal_mask(queries: Any, keys: Any, before: Any = 0) -> Any:
    """Return (1, 1, queries, keys) bool: whether a key is at a query's place or earlier.

    Args:
        queries: how many.
        keys: how many, from place 0.
        before: the place of the first query.
    """
    places = ops.arange(queries, dtype="int32") + ops.cast(before, "int32")
    return (ops.arange(keys, dtype="int32")[None, :] <= places[:, None])[None, None]


def prefix_mask(lengths: Any, sources: Any, keys: Any) -> Any:
    """Return (rows, 1, keys, keys) bool, UniLM's mask of a source and what is written after it.

    Every token sees the source; a token behind the source sees itself and what precedes it; nothing sees
    padding.

    Args:
        lengths: (rows,) int32, tokens of each row.
        sources: (rows,) int32, those of them that are the source.
        keys: padded length.
    """
    places = ops.arange(keys, dtype="int32")
    of_source = (places[None, :] < ops.expand_dims(sources, 1))[:, None, None, :]
    inside = (places[None, :] < ops.expand_dims(lengths, 1))[:, None, None, :]
    return (of_source | causal_mask(keys, keys)) & inside
