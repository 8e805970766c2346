"""A network that generates token by token: its cache of keys and values, and the next token's logits.

In: a backbone, token ids, the cache. Out: logits of what comes next, the longer cache.
Knows nothing about which token is then taken.
"""

from __future__ import annotations

from typing import Any

from keras import ops

from clue_runner.models.attention import KeyValues
from clue_runner.models.decoding.beam import Beam


def empty_cache(backbone: Any, rows: int, length: int) -> tuple[KeyValues, ...]:
    """Return an empty cache of ``length`` places for each row.

    Args:
        backbone: the one whose layers it is for.
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


def next_logits(backbone: Any, token_ids: Any, cache: tuple[KeyValues, ...]) -> tuple[Any, Any]:
    """Return (float32 logits (rows, vocabulary) of the token after these, the cache with them).

    Args:
        backbone: causal; its token embeddings are its output layer too.
        token_ids: (rows, length) int32.
        cache: keys and values of the tokens before them.
    """
    rows = ops.shape(token_ids)[0]
    seen = ops.ones((rows, ops.shape(cache[0].key)[2]), "bool")
    tokens = {"token_ids": token_ids, "segment_ids": ops.zeros_like(token_ids)}
    encoded = backbone(tokens, mask=seen, cache=cache)
    return word_logits(backbone, encoded.sequence[:, -1]), encoded.cache


def word_logits(backbone: Any, vectors: Any) -> Any:
    """Return (tokens, vocabulary) float32 scores of vectors (tokens, width), by the token embeddings."""
    table = ops.cast(backbone.embeddings.word, vectors.dtype)
    return ops.cast(ops.matmul(vectors, ops.transpose(table)), "float32")


def log_probabilities(backbone: Any, token_ids: Any, lengths: Any) -> Any:
    """Return (rows, length - 1) float32: the log-probability of each token after the first; 0 at padding.

    Args:
        backbone: as in ``next_logits``.
        token_ids: (rows, length) int32.
        lengths: (rows,) int32, tokens before the padding.
    """
    inside = ops.arange(ops.shape(token_ids)[1], dtype="int32")[None, :] < ops.expand_dims(lengths, 1)
    tokens = {"token_ids": token_ids, "segment_ids": ops.zeros_like(token_ids)}
    sequence = backbone(tokens, mask=inside).sequence[:, :-1]
    flat = ops.reshape(sequence, (-1, backbone.width))
    logits = word_logits(backbone, flat)
    chosen = ops.take_along_axis(logits, ops.reshape(token_ids[:, 1:], (-1, 1)), axis=1)[:, 0]
    found = ops.reshape(chosen - ops.logsumexp(logits, axis=-1), ops.shape(token_ids[:, 1:]))
    return ops.where(inside[:, 1:], found, 0.0)


def tensors_of(cache: tuple[KeyValues, ...]) -> tuple[Any, ...]:
    """Return the keys and values of a cache as a loop can carry them."""
    return tuple(tensor for layer in cache for tensor in (layer.key, layer.value))


def cache_of(tensors: tuple[Any, ...], filled: Any, position_ids: Any | None = None) -> tuple[KeyValues, ...]:
    """Return the cache that ``tensors_of`` took apart.

    Args:
        tensors: of all layers.
        filled: () int32, number of places in use.
        position_ids: (rows, table) int32, where positions work inside attention; else None.
    """
    pairs = zip(tensors[::2], tensors[1::2], strict=True)
    return tuple(KeyValues(key, value, position_ids, filled) for key, value in pairs)


def longer(
    backbone: Any, token_ids: Any, tensors: tuple[Any, ...], filled: Any
) -> tuple[Any, tuple[Any, ...]]:
    """Return what ``next_logits`` does, the cache being taken apart; ``filled`` of its places are taken."""
    ids = None
    if backbone.embeddings.positions.in_attention:
        ids = ops.arange(ops.shape(tensors[0])[2], dtype="int32")[None]
    logits, cache = next_logits(backbone, token_ids, cache_of(tensors, filled, ids))
    return logits, tensors_of(cache)


def rows_of(state: tuple[Any, ...], parents: Any) -> tuple[Any, ...]:
    """Return tensors with the rows of some beams, see ``beam.Reorder``."""
    return tuple(ops.take(tensor, parents, axis=0) for tensor in state)


def best_continuations(backbone: Any, beam: Beam, forbidden: Any, token_ids: Any) -> tuple[Any, Any]:
    """Return what ``Beam.search`` finds behind a text.

    Args:
        backbone: as in ``next_logits``.
        beam: how it is searched.
        forbidden: (vocabulary,) float32, ``NEGATIVE`` for tokens that must not be written.
        token_ids: (1, length) int32 of the text.
    """
    length = token_ids.shape[1]
    logits, cache = next_logits(backbone, token_ids, empty_cache(backbone, 1, length + beam.length))

    def step(tokens: Any, index: Any, state: tuple[Any, ...]) -> tuple[Any, tuple[Any, ...]]:
        found, state = longer(backbone, tokens[:, None], state, length + index)
        return found + forbidden, state

    state = tuple(ops.repeat(tensor, beam.width, axis=0) for tensor in tensors_of(cache))
    return beam.search(logits + forbidden, state, step, rows_of)
