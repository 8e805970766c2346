"""One part after the other: a loop in which never more than one part is in memory.

In: a step, what it carries on, and tensors that are cut along their first axis. Out: what was carried to the
end, and the steps' results. Knows nothing about what a step computes.

Keras's own loops let TensorFlow run ten parts at a time, which is what the parts are there to prevent.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

Carry = tuple[Any, ...]


def in_turn(
    step: Callable[[Carry, Sequence[Any]], tuple[Carry, Any]], carry: Carry, parts: Sequence[Any], dtype: str
) -> tuple[Carry, Any]:
    """Return the last carry and the stacked results of ``step`` on each part.

    It is not differentiated through: callers write their gradient by hand.

    Args:
        step: (carry, slices of all ``parts``) -> (carry, one tensor); shapes stay the same.
        carry: tensors for the first step.
        parts: tensors of one length along the first axis, a part being one entry.
        dtype: type of the results.
    """
    if keras.backend.backend() == "jax":
        found: tuple[Carry, Any] = ops.scan(step, carry, tuple(parts))
        return found
    return _in_turn_tensorflow(step, carry, parts, dtype)


def _in_turn_tensorflow(
    step: Callable[[Carry, Sequence[Any]], tuple[Carry, Any]], carry: Carry, parts: Sequence[Any], dtype: str
) -> tuple[Carry, Any]:
    """The loop as a TensorFlow graph has it."""
    import tensorflow as tf

    count = tf.shape(parts[0])[0]

    def body(index: Any, carry: Carry, results: Any) -> tuple[Any, Carry, Any]:
        carry, result = step(carry, [part[index] for part in parts])
        return index + 1, carry, results.write(index, result)

    start = (tf.constant(0), carry, tf.TensorArray(dtype, size=count))
    _, carry, results = tf.while_loop(lambda index, *_: index < count, body, start, parallel_iterations=1)
    return carry, results.stack()
