"""The ways to compute attention: whole score matrices, a few queries at a time, or one GPU kernel.

In: queries, keys and values of all heads, scores to add, the key of the dropout site. Out: the attended
values. Knows nothing about weights, layers or which way a run should take.

All forms compute softmax(query key^T + bias + added) value, of which the bias is a constant. ``einsum`` keeps
a (length x length) matrix per head for the backward pass. ``chunked`` keeps only its inputs and output and
recomputes the scores of a few queries, including dropout masks, since these are a function of the key and
the chunk's number. ``fused`` is cuDNN's kernel, which skips padding; it supports neither dropout by key nor
added scores.
"""

from __future__ import annotations

from typing import Any

from keras import ops

from clue_runner.config.attention import CHUNK
from clue_runner.models import dropout
from clue_runner.models.kernels import (
    NEGATIVE,
    Moved,
    attend,
    attended,
    attention_gradients,
    gradient_of_added,
    no_gradient,
)
from clue_runner.models.loops import Tensors, in_turn


def attend_whole(
    query: Any,
    key: Any,
    value: Any,
    bias: Any | None,
    drop: dropout.Site | None,
    added: Any | None = None,
    moved: Moved | None = None,
) -> Any:
    """Return attention from whole score matrices; arguments as in ``attend_chunked``."""
    shape = (*_shape(query)[:3], _shape(key)[2])
    mask = None if drop is None else drop.mask(shape, query.dtype)
    return attend(query, key, value, bias, mask, added, moved)


def attend_chunked(
    query: Any,
    key: Any,
    value: Any,
    bias: Any | None,
    drop: dropout.Site | None,
    chunk: int = CHUNK,
    added: Any | None = None,
    moved: Moved | None = None,
) -> Any:
    """Return attention computed for at most ``chunk`` queries at a time.

    Args:
        query: (rows, heads, queries, head width), already divided by the root of the head width.
        key: (rows, heads, keys, head width).
        value: (rows, heads, keys, head width).
        bias: as in ``kernels.attend``: a constant.
        drop: where masks come from, or None.
        chunk: queries at a time.
        added: as in ``kernels.attend``: further scores, with their gradient.
        moved: as in ``kernels.attend``.
    """
    given = {"bias": bias, "added": added, "words": None if drop is None else drop.as_floats()}
    given |= {} if moved is None else moved._asdict()
    given = {name: tensor for name, tensor in given.items() if tensor is not None}

    def forward(query: Any, key: Any, value: Any, *others: Any) -> Any:
        work = _Chunks(query, key, value, dict(zip(given, others, strict=True)), drop, chunk)
        context = work.context()
        return context, lambda upstream: work.gradients(upstream, context)

    return ops.custom_gradient(forward)(query, key, value, *given.values())


class _Chunks:
    """The chunks of one call: their inputs, and what forward and backward pass compute from each."""

    def __init__(
        self, query: Any, key: Any, value: Any, of: dict[str, Any], drop: dropout.Site | None, chunk: int
    ) -> None:
        self.query, self.key, self.value, self.of = query, key, value, of
        self.site = None if drop is None else drop.from_floats(of["words"])
        self.queries = _shape(query)[2]
        self.count = -(-self.queries // chunk)
        self.size = -(-self.queries // self.count)
        self.parts = [ops.arange(self.count), self.cut(query)]
        # scores and masks with an axis of queries are sliced like these; others are the same for all
        cut = ("bias", "added", "index")
        self.varying = [name for name in cut if name in of and of[name].shape[2] != 1]
        self.parts += [self.cut(of[name]) for name in self.varying]

    def cut(self, values: Any) -> Any:
        """Return (chunks, rows, heads, size, width): the queries in chunks, zeros behind the last."""
        return _cut(values, self.count, self.size)

    def attended(self, part: Any) -> tuple[Any, Any, Any, dropout.Mask | None, Moved | None]:
        """Return what ``kernels.attended`` does for one chunk, its mask, and what moves its values.

        All are the same in every call.
        """
        index, query, *cut = part
        of = {**self.of, **dict(zip(self.varying, cut, strict=True))}
        shape = (*_shape(self.query)[:2], self.size, _shape(self.key)[2])
        mask = None if self.site is None else self.site.part(index).mask(shape, self.query.dtype)
        moved = Moved(of["index"], of["table"]) if "index" in of else None
        found = attended(query, self.key, self.value, of.get("bias"), mask, of.get("added"), moved)
        return *found, mask, moved

    def context(self) -> Any:
        """Return the attended values."""

        def step(carry: Tensors, part: Any) -> tuple[Tensors, Tensors]:
            return carry, (self.attended(part)[0],)

        (context,) = in_turn(step, (), self.parts, [self.query.dtype])[1]
        return _joined(context, self.queries)

    def gradients(self, upstream: Any, context: Any) -> tuple[Any, ...]:
        """Return the gradients of query, key, value and what else was given."""
        added = self.of.get("added")
        summed = added is not None and "added" not in self.varying
        stacked = added is not None and not summed

        def step(carry: Tensors, part: Any) -> tuple[Tensors, Tensors]:
            *inputs, above, result = part
            _, probabilities, dropped, mask, moved = self.attended(inputs)
            for_query, for_key, for_value, for_scores = attention_gradients(
                above, result, probabilities, dropped, inputs[1], self.key, self.value, mask, moved
            )
            more = (for_key, for_value, *([gradient_of_added(for_scores, added)] if summed else []))
            sums = tuple(total + ops.cast(one, "float32") for total, one in zip(carry, more, strict=True))
            return sums, (for_query, *([gradient_of_added(for_scores, added)] if stacked else []))

        # sums over chunks stay float32: a product over all queries would round once, not once per chunk
        totals = (self.key, self.value, *([added] if summed else []))
        zeros = tuple(ops.zeros(_shape(one), "float32") for one in totals)
        parts = (*self.parts, self.cut(upstream), self.cut(context))
        dtypes = [self.query.dtype, *(["float32"] if stacked else [])]
        (for_key, for_value, *for_added), (for_query, *pieces) = in_turn(step, zeros, parts, dtypes)
        for_added += [_joined(piece, self.queries) for piece in pieces]
        return (
            _joined(for_query, self.queries),
            ops.cast(for_key, self.key.dtype),
            ops.cast(for_value, self.value.dtype),
            *(for_added[0] if name == "added" else no_gradient(one) for name, one in self.of.items()),
        )


def attend_fused(query: Any, key: Any, value: Any, bias: Any) -> Any:
    """Return attention from cuDNN's kernel, which raises where it cannot run; padded queries give 0.

    Args:
        query: as in ``attend_chunked``.
        key: as in ``attend_chunked``.
        value: as in ``attend_chunked``.
        bias: (rows, 1, 1, keys), for padding: the kernel supports no other mask.
    """
    import jax

    if tuple(bias.shape[1:3]) != (1, 1):
        raise ValueError("the fused kernel supports no mask other than padding")
    lengths = ops.sum(ops.cast(bias[:, 0, 0] > NEGATIVE / 2, "int32"), axis=-1)
    transposed = [ops.transpose(one, (0, 2, 1, 3)) for one in (query, key, value)]
    context = jax.nn.dot_product_attention(
        *transposed,
        scale=1.0,
        query_seq_lengths=lengths,
        key_value_seq_lengths=lengths,
        implementation="cudnn",
    )
    return ops.transpose(context, (0, 2, 1, 3))


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
