"""Functions of a network as TensorFlow graphs, for inference alone.

In: a network, a function of tensors that calls it. Out: the function as a graph.
Knows nothing about training, tasks or what the function computes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import tensorflow as tf


def compiled(
    network: Any, function: Callable[..., Any], donate: tuple[int, ...] = (), loose: Any = None
) -> Callable[..., Any]:
    """Return ``function`` of tensors, which calls ``network``, as a graph; see ``engines.compiled``."""
    graph = tf.function(function, autograph=False)
    if loose is None:
        return cast(Callable[..., Any], graph)
    traced: list[Any] = []

    def call(*arguments: Any) -> Any:
        if not traced:  # known before: the number of tensors in each argument
            traced.append(graph.get_concrete_function(*map(_loosened, arguments, loose)))
        return traced[0](*arguments)

    return call


def _loosened(argument: Any, axes: tuple[int, ...]) -> Any:
    """Return what an argument's tensors are like, some of their axes of any length."""
    return tf.nest.map_structure(
        lambda tensor: tf.TensorSpec(
            [None if axis in axes else size for axis, size in enumerate(tensor.shape)], tensor.dtype
        ),
        argument,
    )
