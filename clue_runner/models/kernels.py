"""The numeric core of a block, gradients by hand: dense, gelu, residual sum, layer norm, attention.

In and out: tensors of either backend. Knows nothing about weights' names, dropout keys or layers.

TensorFlow's graph on a CPU runs every operation as its own pass over memory, so each gradient here is
written with as few passes as it needs; XLA fuses them anyway. Statistics are float32 in every precision.
"""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple

import keras
import numpy as np
from keras import ops

from clue_runner.models.dropout import Mask, apply

NEGATIVE = -1e9
_ROOT_HALF = 1 / math.sqrt(2)
_DENSITY = 1 / math.sqrt(2 * math.pi)


def dense(inputs: Any, kernel: Any, bias: Any | None) -> Any:
    """Return ``inputs @ kernel + bias`` for inputs (tokens, in), kernel (in, out), all of one type."""
    if bias is None:
        return ops.matmul(inputs, _read(kernel))
    # ops.add, not +: Keras makes TensorFlow's BiasAdd of it, which oneDNN fuses with the product

    def forward(inputs: Any, kernel: Any, bias: Any) -> Any:
        def gradient(upstream: Any) -> tuple[Any, Any, Any]:
            return (
                ops.matmul(upstream, ops.transpose(kernel)),
                ops.matmul(ops.transpose(inputs), upstream),
                ops.sum(upstream, axis=0),
            )

        return ops.add(ops.matmul(inputs, kernel), bias), gradient

    return ops.custom_gradient(forward)(inputs, _read(kernel), _read(bias))


def gelu(inputs: Any) -> Any:
    """Return x * P(normal < x), the erf form, for inference: oneDNN fuses it with the product before it."""
    return inputs * (0.5 * (1.0 + ops.erf(inputs * _ROOT_HALF)))


def trained_gelu(inputs: Any) -> Any:
    """Return ``gelu`` computed in float32; its derivative is kept from the forward pass."""

    def forward(inputs: Any) -> Any:
        x = ops.cast(inputs, "float32")
        below = ops.erf(x * _ROOT_HALF) * 0.5 + 0.5
        derivative = ops.cast(below + x * (ops.exp(ops.square(x) * -0.5) * _DENSITY), inputs.dtype)

        def gradient(upstream: Any) -> Any:
            return upstream * derivative

        return ops.cast(x * below, inputs.dtype), gradient

    return ops.custom_gradient(forward)(inputs)


def residual_sum(inputs: Any, branch: Any, drop: Mask | None) -> Any:
    """Return inputs + dropout(``branch``) in float32.

    The gradient reads neither term, not even its shape: a recomputed part then leaves out the product
    that makes ``branch``.
    """
    keep = [] if drop is None else [drop.keep]

    def forward(inputs: Any, branch: Any, *keep: Any) -> Any:
        given = Mask(keep[0], drop.factor) if drop is not None else None
        kinds = inputs.dtype, branch.dtype

        def gradient(upstream: Any) -> tuple[Any, ...]:
            terms = ops.cast(upstream, kinds[0]), apply(ops.cast(upstream, kinds[1]), given)
            return *terms, *(no_gradient(tensor) for tensor in keep)

        return ops.cast(inputs, "float32") + ops.cast(apply(branch, given), "float32"), gradient

    return ops.custom_gradient(forward)(inputs, branch, *keep)


def layer_norm(inputs: Any, scale: Any, offset: Any, epsilon: float) -> Any:
    """Return the float32 layer norm of float32 (tokens, width); scale and offset are (width,)."""

    def forward(inputs: Any, scale: Any, offset: Any) -> Any:
        centred = inputs - ops.mean(inputs, axis=-1, keepdims=True)
        inverse = ops.rsqrt(ops.mean(ops.square(centred), axis=-1, keepdims=True) + epsilon)
        normal = centred * inverse

        def gradient(upstream: Any) -> tuple[Any, Any, Any]:
            product = upstream * normal
            scaled = upstream * scale
            mean_product = ops.mean(product * scale, axis=-1, keepdims=True)
            below = (scaled - normal * mean_product - ops.mean(scaled, axis=-1, keepdims=True)) * inverse
            return below, ops.sum(product, axis=0), ops.sum(upstream, axis=0)

        return normal * scale + offset, gradient

    return ops.custom_gradient(forward)(inputs, _read(scale), _read(offset))


def root_mean_norm(inputs: Any, epsilon: float) -> Any:
    """Return float32 (tokens, width) divided by its root mean square; nothing is centred or learned."""
    return inputs * ops.rsqrt(ops.mean(ops.square(inputs), axis=-1, keepdims=True) + epsilon)


class Moved(NamedTuple):
    """What a value is moved by on its way to a query: a row of a fixed table, by their distance.

    Attributes:
        index: (1 or rows, 1, queries, keys) float32 whole numbers, rows of the table.
        table: (rows of it, head width) in the compute type, without gradient.
    """

    index: Any
    table: Any

    def vectors(self) -> Any:
        """Return (1 or rows, queries, keys, head width)."""
        return ops.take(self.table, ops.cast(self.index[:, 0], "int32"), axis=0)


def attend(
    query: Any,
    key: Any,
    value: Any,
    bias: Any | None,
    drop: Mask | None,
    added: Any = None,
    moved: Moved | None = None,
) -> Any:
    """Return softmax(query key^T + bias + added) value, with dropout on the probabilities.

    Args:
        query: (rows, heads, queries, head width), already divided by the root of the head width.
        key: (rows, heads, keys, head width).
        value: (rows, heads, keys, head width).
        bias: (1 or rows, 1 or heads, 1 or queries, keys) float32: 0, or ``NEGATIVE`` where a query does not
            see a key; a constant without gradient. A query that sees nothing gets even probabilities, no NaN.
        drop: mask of shape (rows, heads, queries, keys), or None.
        added: further scores, with their gradient, in a shape as ``bias`` has it: an axis of 1 must be known
            to be 1 when the graph is made.
        moved: what each value is moved by, or None.
    """
    index, table = (None, None) if moved is None else moved
    keep = None if drop is None else drop.keep
    rest = _given(bias=bias, added=added, keep=keep, index=index, table=table)
    factor = 1.0 if drop is None else drop.factor

    def forward(query: Any, key: Any, value: Any, *others: Any) -> Any:
        of = dict(zip(rest, others, strict=True))
        mask = Mask(of["keep"], factor) if "keep" in of else None
        move = Moved(of["index"], of["table"]) if "index" in of else None
        context, probabilities, dropped = attended(
            query, key, value, of.get("bias"), mask, of.get("added"), move
        )

        def gradient(upstream: Any) -> tuple[Any, ...]:
            *found, scores = attention_gradients(
                upstream, context, probabilities, dropped, query, key, value, mask, move
            )
            return *found, *(
                gradient_of_added(scores, tensor) if name == "added" else no_gradient(tensor)
                for name, tensor in of.items()
            )

        return context, gradient

    return ops.custom_gradient(forward)(query, key, value, *rest.values())


def attended(
    query: Any,
    key: Any,
    value: Any,
    bias: Any | None,
    drop: Mask | None,
    added: Any | None = None,
    moved: Moved | None = None,
) -> tuple[Any, Any, Any]:
    """Return what ``attend`` does, the probabilities, and these after dropout; no gradient of its own."""
    scores = ops.cast(ops.matmul(query, _transposed(key)), "float32")
    for term in (bias, added):
        scores = scores if term is None else scores + term
    probabilities = ops.cast(ops.softmax(scores, axis=-1), query.dtype)
    if drop is None:
        context = ops.matmul(probabilities, value)
        if moved is not None:
            context = context + by_distance(probabilities, moved.vectors(), "keys")
        return context, probabilities, probabilities
    dropped, factor = probabilities * drop.keep, ops.cast(drop.factor, value.dtype)
    context = ops.matmul(dropped, value * factor)
    if moved is not None:
        context = context + by_distance(dropped, moved.vectors(), "keys") * factor
    return context, probabilities, dropped


def by_distance(values: Any, vectors: Any, over: Literal["keys", "width"]) -> Any:
    """Return ``values`` times vectors that belong to pairs of a query and a key, summed over one axis.

    Args:
        values: (rows, heads, queries, keys), or (rows, heads, queries, head width).
        vectors: (1 or rows, queries, keys, head width).
        over: the axis that ``values`` ends with, which is summed over; the other one is left.
    """
    row = "" if vectors.shape[0] == 1 else "b"
    last, left = ("k", "d") if over == "keys" else ("d", "k")
    return ops.einsum(f"bhq{last},{row}qkd->bhq{left}", values, vectors if row else vectors[0])


def attention_gradients(
    upstream: Any,
    context: Any,
    probabilities: Any,
    dropped: Any,
    query: Any,
    key: Any,
    value: Any,
    drop: Mask | None,
    moved: Moved | None = None,
) -> tuple[Any, Any, Any, Any]:
    """Return the gradients for query, key, value and scores from that for ``context``.

    Args:
        upstream: (rows, heads, queries, head width), the gradient for ``context``.
        context: what ``attended`` returned with ``probabilities`` and ``dropped``.
        probabilities: (rows, heads, queries, keys).
        dropped: the same after dropout.
        query: as in ``attend``.
        key: as in ``attend``.
        value: as in ``attend``.
        drop: as in ``attend``.
        moved: as in ``attend``.
    """
    for_value = ops.matmul(_transposed(dropped), upstream)
    factor = None if drop is None else ops.cast(drop.factor, value.dtype)
    for_probabilities = ops.matmul(upstream, _transposed(value if factor is None else value * factor))
    if moved is not None:
        more = by_distance(upstream, moved.vectors(), "width")
        for_probabilities = for_probabilities + (more if factor is None else more * factor)
    if drop is not None:
        for_value = for_value * factor
        for_probabilities = for_probabilities * drop.keep
    # sum over keys of probabilities * gradient, from the narrow side
    mean = ops.sum(ops.cast(upstream, "float32") * ops.cast(context, "float32"), axis=-1, keepdims=True)
    for_scores = probabilities * (for_probabilities - ops.cast(mean, probabilities.dtype))
    return ops.matmul(for_scores, key), ops.matmul(_transposed(for_scores), query), for_value, for_scores


def gradient_of_added(for_scores: Any, added: Any) -> Any:
    """Return the float32 gradient of ``added`` from that of the scores: summed over its axes of 1."""
    shared = tuple(axis for axis, size in enumerate(added.shape) if size == 1)
    whole = ops.cast(for_scores, "float32")
    return ops.sum(whole, axis=shared, keepdims=True) if shared else whole


def padding_mask(lengths: Any, keys: Any) -> Any:
    """Return (rows, keys) bool: whether a key is before the padding."""
    return ops.arange(keys)[None, :] < ops.expand_dims(lengths, 1)


def bias_of(mask: Any) -> Any:
    """Return float32 scores to add: 0 where the boolean ``mask`` is true, ``NEGATIVE`` elsewhere.

    (rows, keys) becomes (rows, 1, 1, keys); (rows, 1 or heads, queries, keys) stays so.
    """
    bias = ops.where(mask, np.float32(0), np.float32(NEGATIVE))
    return bias[:, None, None, :] if len(mask.shape) == 2 else bias


def _read(weight: Any) -> Any:
    """Return a variable's value: TensorFlow's own gradients take tensors, not variables."""
    return ops.copy(weight)


def _transposed(values: Any) -> Any:
    """Return the last two axes swapped."""
    return ops.swapaxes(values, -1, -2)


def _given(**tensors: Any | None) -> dict[str, Any]:
    """Return the tensors that are there, by name: hand-written gradients take no None."""
    return {name: tensor for name, tensor in tensors.items() if tensor is not None}


def no_gradient(values: Any) -> Any:
    """Return the gradient of something that is not trained."""
    return None if keras.backend.backend() == "tensorflow" else ops.zeros_like(values)
