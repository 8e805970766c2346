"""The best fixed point of the ball in hindsight, with a certificate of how good it is.

In: a problem. Out: weights, the loss of each step under them, and the gap. For a convex f on a ball
around 0 of radius r, f(W) - min f <= <g, W> + r |g| (the Frank-Wolfe gap): no point of the ball is
better by more than that. float64 on the host. Knows nothing about schedules, bounds or backends.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from clue_runner.probe.problem import Problem

TOLERANCE: Final = 1e-6  # for the gap, in nats
ROUNDS: Final = 25

Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Best:
    """The point, its mean loss over all steps, the gap, and (steps,) its loss at each step."""

    weights: Matrix
    loss: float
    gap: float
    step_losses: Matrix

    @property
    def norm(self) -> float:
        """Return the distance from the centre."""
        return float(np.linalg.norm(self.weights))


def best_point(problem: Problem, tolerance: float = TOLERANCE) -> Best:
    """Return the best point in hindsight over all mini-batches of the problem.

    Searches for the multiplier of the ball: for each, L-BFGS finds the minimum, whose norm falls as it rises.
    """
    from scipy import optimize

    rows = problem.rows.astype(np.float64)
    columns = rows.T if isinstance(rows, np.ndarray) else rows.T.tocsr()
    weights_of = np.bincount(problem.batches.ravel(), minlength=rows.shape[0]) / problem.batches.size
    one_hot, shape = np.eye(problem.classes)[problem.labels], (rows.shape[1], problem.classes)

    def measure(point: Matrix) -> tuple[float, Matrix, Matrix]:
        logs = _log_softmax(rows @ point)
        losses: Matrix = -np.sum(one_hot * logs, axis=1)
        gradient = columns @ (weights_of[:, None] * (np.exp(logs) - one_hot))
        return float(weights_of @ losses), gradient, losses

    def penalised(flat: Matrix, multiplier: float) -> tuple[float, Matrix]:
        loss, gradient, _ = measure(flat.reshape(shape))
        return loss + multiplier / 2 * float(flat @ flat), gradient.ravel() + multiplier * flat

    radius, point = problem.radius, np.zeros(shape)
    _, gradient, _ = measure(point)
    multiplier = max(float(np.linalg.norm(gradient)) / radius / 4, 1e-12)
    least = tolerance / (4 * radius**2)  # a multiplier below this costs less than the tolerance
    best: tuple[float, Matrix] | None = None
    seen: list[tuple[float, float]] = []
    for _ in range(ROUNDS):
        options: dict[str, Any] = {
            "maxiter": 500,
            "gtol": tolerance / (10 * radius),
            "ftol": 1e-15,
            "maxcor": 20,
        }
        found = optimize.minimize(
            penalised, point.ravel(), args=(multiplier,), jac=True, method="L-BFGS-B", options=options
        )
        point = found.x.reshape(shape)
        norm = float(np.linalg.norm(point))
        inside = point * min(1.0, radius / norm) if norm > 0 else point
        if norm < radius and multiplier > least:  # of the two, the one further out may be better
            inside = point * (radius / norm) if norm > 0 else point
        _, gradient, _ = measure(inside)
        gap = float(np.sum(gradient * inside) + radius * np.linalg.norm(gradient))
        if best is None or gap < best[0]:
            best = gap, inside
        if gap <= tolerance or norm == 0:
            break
        seen.append((np.log(multiplier), np.log(norm)))
        multiplier = max(least, float(np.exp(_next(seen, np.log(radius)))))
    assert best is not None
    loss, _, losses = measure(best[1])
    return Best(best[1], loss, max(best[0], 0.0), losses[problem.batches].mean(axis=1))


def _next(seen: list[tuple[float, float]], wanted: float) -> float:
    """Return the log multiplier at which the log norm should be ``wanted``: a bounded secant step."""
    (place, value), change = seen[-1], -0.5
    if len(seen) > 1 and seen[-1][0] != seen[-2][0]:
        change = min((seen[-1][1] - seen[-2][1]) / (seen[-1][0] - seen[-2][0]), -0.05)
    return place + float(np.clip((wanted - value) / change, -3, 3))


def _log_softmax(logits: Matrix) -> Matrix:
    from scipy.special import log_softmax

    found: Matrix = log_softmax(logits, axis=1)
    return found
