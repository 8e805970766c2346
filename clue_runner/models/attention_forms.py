"""The ways to compute attention: whole score matrices, a few queries at a time, or one GPU kernel.

In: queries, keys and values of all heads, a padding bias, the key of the dropout site. Out: the attended
values. Knows nothing about weights, layers or which way a run should take.

All forms compute softmax(query key^T + bias) value. ``einsum`` keeps a (length x length) matrix a head for
the backward pass. ``chunked`` keeps its inputs and output alone and computes the scores of a few queries
again, dropout masks included, since these are a function of the key and the chunk's number. ``fused`` is
cuDNN's flash attention, which skips padding; it knows no dropout by key.
"""

from __future__ import annotations

from typing import Any

from keras import ops

from clue_runner.config.attention import CHUNK
from clue_runner.models import dropout
from clue_runner.models.kernels import NEGATIVE, attend, attended, attention_slopes, no_slope
from clue_runner.models.loops import in_turn


def attend_whole(query: Any, key: Any, value: Any, bias: Any, drop: dropout.Site | None) -> Any:
    """Return attention from whole score matrices; arguments as in ``attend_chunked``."""
    shape = (*_shape(query)[:3], _shape(key)[2])
    return attend(query, key, value, bias, None if drop is None else drop.mask(shape, query.dtype))


def attend_chunked(
    query: Any, key: Any, value: Any, bias: Any, drop: dropout.Site | None, chunk: int = CHUNK
) -> Any:
    """Return attention computed for at most ``chunk`` queries at a time.

    Args:
        query: (rows, heads, queries, head width), already divided by the root of the head width.
        key: (rows, heads, keys, head width).
        value: (rows, heads, keys, head width).
        bias: (rows, 1, 1, keys) float32: 0, or ``NEGATIVE`` on padding.
        drop: where masks come from, or None.
        chunk: queries at a time.
    """
    words = [] if drop is None else [drop.as_floats()]

    def forward(query: Any, key: Any, value: Any, bias: Any, *words: Any) -> Any:
        site = None if drop is None else drop.from_floats(words[0])
        queries = _shape(query)[2]
        count = -(-queries // chunk)
        size = -(-queries // count)

        def keep_of(index: Any) -> dropout.Mask | None:
            """Return the mask of one chunk, the same whenever it is asked for."""
            shape = (*_shape(query)[:2], size, _shape(key)[2])
            return None if site is None else site.part(index).mask(shape, query.dtype)

        def one(carry: Any, part: Any) -> Any:
            index, some = part
            return carry, attended(some, key, value, bias, keep_of(index))[0]

        cut = (ops.arange(count), _cut(query, count, size))
        context = _joined(in_turn(one, (), cut, query.dtype)[1], queries)

        def gradient(upstream: Any) -> tuple[Any, ...]:
            def back(carry: Any, part: Any) -> Any:
                index, some, above, result = part
                keep = keep_of(index)
                _, chance, thinned = attended(some, key, value, bias, keep)
                slopes = attention_slopes(above, result, chance, thinned, some, key, value, keep)
                sums = tuple(
                    total + ops.cast(slope, "float32") for total, slope in zip(carry, slopes[1:], strict=True)
                )
                return sums, slopes[0]

            # sums over chunks stay float32: a product over all queries would round once, not once a chunk
            zeros = tuple(ops.zeros(_shape(one), "float32") for one in (key, value))
            parts = (*cut, _cut(upstream, count, size), _cut(context, count, size))
            (key_slope, value_slope), query_slopes = in_turn(back, zeros, parts, query.dtype)
            return (
                _joined(query_slopes, queries),
                ops.cast(key_slope, key.dtype),
                ops.cast(value_slope, value.dtype),
                *(no_slope(one) for one in (bias, *words)),
            )

        return context, gradient

    return ops.custom_gradient(forward)(query, key, value, bias, *words)


def attend_fused(query: Any, key: Any, value: Any, bias: Any) -> Any:
    """Return attention from cuDNN's kernel, which raises where it cannot run; padded queries give 0."""
    import jax

    lengths = ops.sum(ops.cast(bias[:, 0, 0] > NEGATIVE / 2, "int32"), axis=-1)
    turned = [ops.transpose(one, (0, 2, 1, 3)) for one in (query, key, value)]
    found = jax.nn.dot_product_attention(
        *turned,
        scale=1.0,
        query_seq_lengths=lengths,
        key_value_seq_lengths=lengths,
        implementation="cudnn",
    )
    return ops.transpose(found, (0, 2, 1, 3))


def _cut(values: Any, count: Any, size: Any) -> Any:
    """Return (chunks, rows, heads, size, width): the queries in chunks, zeros behind the last."""
    rows, heads, queries, width = _shape(values)
    whole = ops.pad(values, ((0, 0), (0, 0), (0, count * size - queries), (0, 0)))
    return ops.transpose(ops.reshape(whole, (rows, heads, count, size, width)), (2, 0, 1, 3, 4))


def _joined(chunks: Any, queries: Any) -> Any:
    """Return (rows, heads, queries, width) from what ``_cut`` makes."""
    count, rows, heads, size, width = _shape(chunks)
    whole = ops.reshape(ops.transpose(chunks, (1, 2, 0, 3, 4)), (rows, heads, count * size, width))
    return whole[:, :, :queries]


def _shape(values: Any) -> tuple[Any, ...]:
    """Return the shape, with tensors where only the graph knows it."""
    return tuple(ops.shape(values))
