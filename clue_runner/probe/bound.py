"""The theorem's right-hand side, and how fast a curve falls.

For convex losses, projected SGD on a convex set of diameter D with gradients of norm at most G and step sizes
that never grow, after t steps the average regret is at most D^2/(2 t eta_t) + G^2/(2 t) (eta_1 + ... + eta_t)
(Zinkevich 2003, Online convex programming). It holds for every order of the records and every point of the
set; it concerns the average of the losses during training, not the final weights.

In: numbers. Out: numbers. Knows nothing about data, schedules or backends.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Curve = NDArray[np.float64]

FIT_POINTS = 200  # for a slope: evenly spaced in log t, so that late steps do not outweigh early ones
FIT_FROM = 0.1  # fraction of the first steps that a slope ignores: they reflect the starting point


def right_side(sizes: Curve, diameter: float, gradient: float | Curve) -> Curve:
    """Return the bound after each step.

    Args:
        sizes: (steps,) step sizes, never increasing.
        diameter: D.
        gradient: G, or (steps,) the largest norm seen up to each step, with which the bound holds as well.
    """
    counted = np.arange(1, len(sizes) + 1)
    first: Curve = diameter**2 / (2 * counted * sizes)
    return first + np.square(gradient) / (2 * counted) * np.cumsum(sizes)


def running_mean(values: Curve) -> Curve:
    """Return the mean of the values up to each position."""
    means: Curve = np.cumsum(values) / np.arange(1, len(values) + 1)
    return means


def slope(curve: Curve) -> float | None:
    """Return the slope of log(curve) over log t after its first tenth; None without two values above 0."""
    steps = len(curve)
    places = np.unique(np.geomspace(max(1, FIT_FROM * steps), steps, FIT_POINTS).astype(int))
    places = places[curve[places - 1] > 0]
    if len(places) < 2:
        return None
    return float(np.polyfit(np.log(places), np.log(curve[places - 1]), 1)[0])
