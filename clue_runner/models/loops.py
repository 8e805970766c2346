"""Loops over parts, of which only one is in memory at a time.

In: a step, what it carries on, and tensors that are cut along their first axis. Out: what was carried to the
end, and the steps' results. Knows nothing about what a step computes.

Keras's own loops let TensorFlow run ten parts at a time, which is what the parts are there to prevent.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

Tensors = tuple[Any, ...]
Step = Callable[[Tensors, Sequence[Any]], tuple[Tensors, Tensors]]


def in_turn(
    step: Step, carry: Tensors, parts: Sequence[Any], dtypes: Sequence[str]
) -> tuple[Tensors, Tensors]:
    """Return the last carry and the stacked results of ``step`` on each part.

    It is not differentiated through: callers write their gradient by hand.

    Args:
        step: (carry, slices of all ``parts``) -> (carry, results); shapes stay the same.
        carry: tensors for the first step.
        parts: tensors of one length along the first axis, a part being one entry.
        dtypes: types of the results.
    """
    if keras.backend.backend() == "jax":
        last, stacked = ops.scan(step, carry, tuple(parts))
        return last, stacked
    return _in_turn_tensorflow(step, carry, parts, dtypes)


def _in_turn_tensorflow(
    step: Step, carry: Tensors, parts: Sequence[Any], dtypes: Sequence[str]
) -> tuple[Tensors, Tensors]:
    """The loop as a TensorFlow graph has it."""
    import tensorflow as tf

    count = tf.shape(parts[0])[0]

    def body(index: Any, carry: Tensors, stacks: Tensors) -> tuple[Any, Tensors, Tensors]:
        carry, results = step(carry, [part[index] for part in parts])
        written = (stack.write(index, result) for stack, result in zip(stacks, results, strict=True))
        return index + 1, carry, tuple(written)

    stacks = tuple(tf.TensorArray(dtype, size=count) for dtype in dtypes)
    _, carry, stacks = tf.while_loop(
        lambda index, *_: index < count, body, (tf.constant(0), carry, stacks), parallel_iterations=1
    )
    return carry, tuple(stack.stack() for stack in stacks)
