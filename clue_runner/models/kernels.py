"""The numeric core of a block, gradients by hand: dense, gelu, residual sum, layer norm, attention.

In and out: tensors of either backend. Knows nothing about weights' names, dropout keys or layers.

TensorFlow's graph on a CPU runs every operation as its own pass over memory, so each gradient here is
written with as few passes as it needs; XLA fuses them anyway. Statistics are float32 in every precision.
"""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
from keras import ops

from clue_runner.models.dropout import Mask, apply

NEGATIVE = -1e9
_ROOT_HALF = 1 / math.sqrt(2)
_DENSITY = 1 / math.sqrt(2 * math.pi)


def dense(inputs: Any, kernel: Any, bias: Any) -> Any:
    """Return ``inputs @ kernel + bias`` for inputs (tokens, in), kernel (in, out), all of one type."""
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
    """Return ``gelu`` computed in float32; its slope is kept from the forward pass."""

    def forward(inputs: Any) -> Any:
        x = ops.cast(inputs, "float32")
        below = ops.erf(x * _ROOT_HALF) * 0.5 + 0.5
        slope = ops.cast(below + x * (ops.exp(ops.square(x) * -0.5) * _DENSITY), inputs.dtype)

        def gradient(upstream: Any) -> Any:
            return upstream * slope

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
            slopes = ops.cast(upstream, kinds[0]), apply(ops.cast(upstream, kinds[1]), given)
            return *slopes, *(no_slope(one) for one in keep)

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
            slope = (scaled - normal * mean_product - ops.mean(scaled, axis=-1, keepdims=True)) * inverse
            return slope, ops.sum(product, axis=0), ops.sum(upstream, axis=0)

        return normal * scale + offset, gradient

    return ops.custom_gradient(forward)(inputs, _read(scale), _read(offset))


def attend(query: Any, key: Any, value: Any, bias: Any, drop: Mask | None) -> Any:
    """Return softmax(query key^T + bias) value, the probabilities thinned by ``drop``.

    Args:
        query: (rows, heads, queries, head width), already divided by the root of the head width.
        key: (rows, heads, keys, head width).
        value: (rows, heads, keys, head width).
        bias: (rows, 1, 1, keys) float32: 0, or ``NEGATIVE`` on padding. A row that is all padding
            gives even probabilities, no NaN.
        drop: mask of shape (rows, heads, queries, keys), or None.
    """
    keep = [] if drop is None else [drop.keep]
    factor = 1.0 if drop is None else drop.factor

    def forward(query: Any, key: Any, value: Any, bias: Any, *keep: Any) -> Any:
        given = Mask(keep[0], factor) if keep else None
        context, chance, thinned = attended(query, key, value, bias, given)

        def gradient(upstream: Any) -> tuple[Any, ...]:
            slopes = attention_slopes(upstream, context, chance, thinned, query, key, value, given)
            return *slopes, *(no_slope(one) for one in (bias, *keep))

        return context, gradient

    return ops.custom_gradient(forward)(query, key, value, bias, *keep)


def attended(query: Any, key: Any, value: Any, bias: Any, drop: Mask | None) -> tuple[Any, Any, Any]:
    """Return what ``attend`` does, the probabilities, and these thinned; no gradient of its own."""
    scores = ops.cast(ops.matmul(query, _turned(key)), "float32") + bias
    chance = ops.cast(ops.softmax(scores, axis=-1), query.dtype)
    if drop is None:
        return ops.matmul(chance, value), chance, chance
    thinned = chance * drop.keep
    return ops.matmul(thinned, value * ops.cast(drop.factor, value.dtype)), chance, thinned


def attention_slopes(
    upstream: Any,
    context: Any,
    chance: Any,
    thinned: Any,
    query: Any,
    key: Any,
    value: Any,
    drop: Mask | None,
) -> tuple[Any, Any, Any]:
    """Return the gradients for query, key and value from that for ``context``.

    Args:
        upstream: (rows, heads, queries, head width), the gradient for ``context``.
        context: what ``attended`` returned with ``chance`` and ``thinned``.
        chance: (rows, heads, queries, keys).
        thinned: the same with dropout.
        query: as in ``attend``.
        key: as in ``attend``.
        value: as in ``attend``.
        drop: as in ``attend``.
    """
    value_slope = ops.matmul(_turned(thinned), upstream)
    factor = None if drop is None else ops.cast(drop.factor, value.dtype)
    chance_slope = ops.matmul(upstream, _turned(value if factor is None else value * factor))
    if drop is not None:
        value_slope = value_slope * factor
        chance_slope = chance_slope * drop.keep
    # sum over keys of chance * slope, from the narrow side
    mean = ops.sum(ops.cast(upstream, "float32") * ops.cast(context, "float32"), axis=-1, keepdims=True)
    score_slope = chance * (chance_slope - ops.cast(mean, chance.dtype))
    return ops.matmul(score_slope, key), ops.matmul(_turned(score_slope), query), value_slope


def padding_bias(lengths: Any, keys: Any) -> Any:
    """Return (rows, 1, 1, keys) float32: 0 on the first ``lengths`` keys, ``NEGATIVE`` behind."""
    inside = ops.arange(keys)[None, :] < ops.expand_dims(lengths, 1)
    return ops.where(inside, np.float32(0), np.float32(NEGATIVE))[:, None, None, :]


def _read(weight: Any) -> Any:
    """Return a variable's value: TensorFlow's own gradients take tensors, not variables."""
    return ops.copy(weight)


def _turned(values: Any) -> Any:
    """Return the last two axes swapped."""
    return ops.swapaxes(values, -1, -2)


def no_slope(values: Any) -> Any:
    """Return the gradient of something that is not trained."""
    return None if keras.backend.backend() == "tensorflow" else ops.zeros_like(values)
