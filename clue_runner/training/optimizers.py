"""AdamW's arithmetic on one weight, the same as ``keras.optimizers.AdamW``'s.

In: weight, gradient, moments, step size. Out: their next values.
Knows nothing about networks, clipping or where the tensors live; works on tensors of either backend
and on numpy arrays.

A row of a lookup table that never had a gradient has moments of 0, so its step is exactly 0 and only
the decay moves it. Engines may therefore update just the rows that were ever used.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from clue_runner.models.naming import decays
from clue_runner.training.engines.base import EngineSettings


class Moments(NamedTuple):
    """Running means of the gradient and of its square."""

    momentum: Any
    velocity: Any


def step_size(learning_rate: Any, step: Any, settings: EngineSettings) -> Any:
    """Return the bias-corrected step; ``step`` counts from 1 and is a float."""
    return learning_rate * (1 - settings.beta_2**step) ** 0.5 / (1 - settings.beta_1**step)


def decay_factor(name: str, learning_rate: Any, settings: EngineSettings) -> Any | None:
    """Return what the weight ``name`` is multiplied with before the step; None where it does not decay."""
    if settings.weight_decay == 0 or not decays(name):
        return None
    return 1 - learning_rate * settings.weight_decay


def adam(weight: Any, gradient: Any, moments: Moments, size: Any, settings: EngineSettings) -> tuple[Any, Moments]:
    """Return the next weight and moments, decay left out."""
    momentum = moments.momentum + (gradient - moments.momentum) * (1 - settings.beta_1)
    velocity = moments.velocity + (gradient * gradient - moments.velocity) * (1 - settings.beta_2)
    return weight - momentum * size / (velocity**0.5 + settings.epsilon), Moments(momentum, velocity)
