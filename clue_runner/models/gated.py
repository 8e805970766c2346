"""The numeric core of a gated dilated block, with hand-written gradients.

In and out: tensors of either backend. Knows nothing about weights or layers.

A dilated convolution of three is one matrix product over the characters at -d, 0 and +d. The gate's gradient
is written out, because TensorFlow's graph on a CPU runs every operation as a pass of its own over memory.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from clue_runner.models.dropout import Mask


def shifted(values: Any, distance: int) -> Any:
    """Return (rows, length, 3 * width): characters ``distance`` before, at and after each; 0 outside."""

    def forward(values: Any) -> Any:
        def gradient(upstream: Any) -> Any:
            width = values.shape[-1]
            before, here, after = (upstream[..., place * width : (place + 1) * width] for place in range(3))
            return here + _moved(before, -distance) + _moved(after, distance)

        return ops.concatenate(
            [_moved(values, distance), values, _moved(values, -distance)], axis=-1
        ), gradient

    return ops.custom_gradient(forward)(values)


def _moved(values: Any, distance: int) -> Any:
    """Return (rows, length, width) moved towards the end (negative: the beginning), 0 in what is left."""
    length = ops.shape(values)[1]
    size = abs(distance)
    if distance > 0:
        return ops.pad(values, [[0, 0], [size, 0], [0, 0]])[:, :length]
    return ops.pad(values, [[0, 0], [0, size], [0, 0]])[:, size:]


def gated_block(inputs: Any, both: Any, mask: Any, drop: Mask | None) -> Any:
    """Return ``(x (1 - g) + c g) * mask`` with ``g = sigmoid(drop(z))``.

    Args:
        inputs: x, (rows, length, width).
        both: c and z side by side, (rows, length, 2 * width).
        mask: (rows, length, 1) of 0 and 1.
        drop: dropout on z; None: none.
    """
    width = inputs.shape[-1]
    keep = [] if drop is None else [drop.keep * ops.cast(drop.factor, inputs.dtype)]

    def forward(inputs: Any, both: Any, mask: Any, *keep: Any) -> Any:
        logits = both[..., width:]
        gate = ops.sigmoid(logits * keep[0] if keep else logits)
        difference = both[..., :width] - inputs
        moved = gate * difference

        def gradient(upstream: Any) -> tuple[Any, ...]:
            slope = upstream * mask
            content_slope = slope * gate
            gate_slope = content_slope * (difference - moved)
            if keep:
                gate_slope = gate_slope * keep[0]
            both_slope = ops.concatenate([content_slope, gate_slope], axis=-1)
            return slope - content_slope, both_slope, *(_no_slope(one) for one in (mask, *keep))

        return (inputs + moved) * mask, gradient

    return ops.custom_gradient(forward)(inputs, both, mask, *keep)


def weighted_sum(weights: Any, sequence: Any) -> Any:
    """Return (rows, width) float32 from (rows, length) float32 weights and (rows, length, width)."""
    row = ops.expand_dims(ops.cast(weights, sequence.dtype), 1)
    return ops.cast(ops.matmul(row, sequence)[:, 0], "float32")


def _no_slope(values: Any) -> Any:
    """Return the gradient of something that is not trained."""
    return None if keras.backend.backend() == "tensorflow" else ops.zeros_like(values)
