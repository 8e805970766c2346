"""Projected SGD on the problem, in float32, on the backend that Keras uses.

In: a problem, step sizes. Out: loss and gradient norm of each step, and the last weights.
The gradient of softmax regression is explicit, so that both backends compute the same operations.
Knows nothing about schedules or bounds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clue_runner.probe.bound import Curve
from clue_runner.probe.problem import Problem


@dataclass(frozen=True)
class Trace:
    """What each step measured before its update, and the final weights."""

    losses: Curve
    gradient_norms: Curve
    weights: NDArray[np.float32]


def project(weights: Any, radius: float) -> Any:
    """Return the point of the ball that is nearest to ``weights``."""
    from keras import ops

    norm = ops.sqrt(ops.sum(ops.square(weights)))
    return weights * ops.minimum(1.0, radius / ops.maximum(norm, 1e-30))


def step(weights: Any, rows: Any, wanted: Any, size: Any, radius: float) -> tuple[Any, Any, Any]:
    """Return the weights after one step, the mean loss before it and the norm of its gradient.

    Args:
        weights: (width, classes).
        rows: (batch, width).
        wanted: (batch, classes) one-hot labels.
        size: the step size.
        radius: of the ball.
    """
    from keras import ops

    logits = ops.matmul(rows, weights)
    logits = logits - ops.logsumexp(logits, axis=1, keepdims=True)
    loss = -ops.mean(ops.sum(wanted * logits, axis=1))
    gradient = ops.matmul(ops.transpose(rows), ops.exp(logits) - wanted) / rows.shape[0]
    norm = ops.sqrt(ops.sum(ops.square(gradient)))
    return project(weights - size * gradient, radius), loss, norm


def mini_batches(problem: Problem) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """Return the dense rows and one-hot labels of each step."""
    one_hot = np.eye(problem.classes, dtype=np.float32)
    for places in problem.batches:
        rows = problem.rows[places]
        yield rows if isinstance(rows, np.ndarray) else rows.toarray(), one_hot[problem.labels[places]]


def descend(problem: Problem, sizes: Curve, done: Callable[[int], None] = lambda _: None) -> Trace:
    """Start from the centre of the ball; ``done`` is called with the number of steps so far."""
    from keras import ops

    weights = ops.zeros((problem.rows.shape[1], problem.classes), dtype="float32")
    losses, norms = np.empty(len(sizes)), np.empty(len(sizes))
    for number, (rows, wanted) in enumerate(mini_batches(problem)):
        weights, loss, norm = step(
            weights,
            ops.convert_to_tensor(rows),
            ops.convert_to_tensor(wanted),
            ops.convert_to_tensor(np.float32(sizes[number])),
            problem.radius,
        )
        losses[number], norms[number] = float(loss), float(norm)
        done(number + 1)
    return Trace(losses, norms, np.asarray(ops.convert_to_numpy(weights)))
