"""The numeric core of a gated dilated block, with hand-written gradients.

In and out: tensors of either backend. Knows nothing about weights or layers.

A dilated convolution of width 3 is one matrix product over the characters at -d, 0 and +d. Its gradient
is written out, because TensorFlow's graph on a CPU runs every operation as a separate pass over memory.
"""

from __future__ import annotations

from typing import Any

from keras import ops

from clue_runner.models.dropout import Mask
from clue_runner.models.kernels import no_gradient


def shifted(values: Any, distance: int) -> Any:
    """Return (rows, length, 3 * width): characters ``distance`` before, at and after each; 0 outside."""

    def forward(values: Any) -> Any:
        length = ops.shape(values)[1]

        def gradient(upstream: Any) -> Any:
            before, here, after = ops.split(upstream, 3, axis=-1)
            # the gradient of a value shifted by d is shifted by -d, and vice versa
            before = ops.pad(before, [[0, 0], [0, distance], [0, 0]])[:, distance:]
            return here + before + ops.pad(after, [[0, 0], [distance, 0], [0, 0]])[:, :length]

        wide = ops.pad(values, [[0, 0], [distance, distance], [0, 0]])
        return ops.concatenate([wide[:, :length], values, wide[:, 2 * distance :]], axis=-1), gradient

    return ops.custom_gradient(forward)(values)


def gated_block(inputs: Any, both: Any, mask: Any, drop: Mask | None) -> Any:
    """Return ``(x (1 - g) + c g) * mask`` with ``g = sigmoid(drop(z))``.

    Args:
        inputs: x, (rows, length, width).
        both: c and z concatenated, (rows, length, 2 * width).
        mask: (rows, length, 1) of 0 and 1.
        drop: dropout on z, whose factor is already in z; None: none.
    """
    keep = [] if drop is None else [drop.keep]

    def forward(inputs: Any, both: Any, mask: Any, *keep: Any) -> Any:
        content, logits = ops.split(both, 2, axis=-1)
        logits = logits * keep[0] if keep else logits
        # in float32: TensorFlow's own bfloat16 sigmoid on a CPU takes nearly twice as long
        gate = ops.cast(ops.sigmoid(ops.cast(logits, "float32")), inputs.dtype)
        difference = content - inputs
        moved = gate * difference

        def gradient(upstream: Any) -> tuple[Any, ...]:
            inside = upstream * mask
            for_content = inside * gate
            for_gate = for_content * (difference - moved)
            if keep:
                for_gate = for_gate * keep[0]
            for_both = ops.concatenate([for_content, for_gate], axis=-1)
            return inside - for_content, for_both, *(no_gradient(tensor) for tensor in (mask, *keep))

        return (inputs + moved) * mask, gradient

    return ops.custom_gradient(forward)(inputs, both, mask, *keep)


def weighted_sum(weights: Any, sequence: Any) -> Any:
    """Return (rows, width) float32 from (rows, length) float32 weights and (rows, length, width)."""
    row = ops.expand_dims(ops.cast(weights, sequence.dtype), 1)
    return ops.cast(ops.matmul(row, sequence)[:, 0], "float32")
