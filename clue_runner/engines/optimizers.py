"""AdamW's arithmetic on one weight, the same as ``keras.optimizers.AdamW``'s; RAdam's; the average's decay.

In: weight, gradient, moments, step size. Out: their next values.
Knows nothing about networks, clipping or where the tensors live; works on tensors of either backend
and on numpy arrays.

A row of a lookup table that never had a gradient has moments of 0, so its step is exactly 0 and only
the decay moves it. Engines may therefore update just the rows that were ever used. For this an element's
bits may not depend on where it stands: sums, products, quotients and ``square_root`` round correctly
everywhere, TensorFlow's power of an array does not (its vector units and the rest behind them differ).
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from clue_runner.engines.base import EngineSettings
from clue_runner.models.naming import decays


class RectifiedSize(NamedTuple):
    """RAdam's step: ``adaptive`` is divided by the root of the second moment, ``plain`` is not; one is 0."""

    adaptive: Any
    plain: Any


class Moments(NamedTuple):
    """Running means of the gradient and of its square."""

    momentum: Any
    velocity: Any


def square_root(value: Any) -> Any:
    """Return the root of an array, correctly rounded wherever an element stands."""
    if isinstance(value, np.ndarray | np.generic):
        return np.sqrt(value)
    from keras import ops

    return ops.sqrt(value)


def step_size(learning_rate: Any, step: Any, settings: EngineSettings) -> Any:
    """Return the bias-corrected step; ``step`` counts from 1 and is a float."""
    return learning_rate * (1 - settings.beta_2**step) ** 0.5 / (1 - settings.beta_1**step)


def decay_factor(name: str, learning_rate: Any, settings: EngineSettings) -> Any | None:
    """Return what the weight ``name`` is multiplied with before the step; None where it does not decay."""
    if settings.weight_decay == 0 or not decays(name):
        return None
    return 1 - learning_rate * settings.weight_decay


def adam(
    weight: Any, gradient: Any, moments: Moments, size: Any, settings: EngineSettings
) -> tuple[Any, Moments]:
    """Return the next weight and moments, decay left out."""
    momentum = moments.momentum + (gradient - moments.momentum) * (1 - settings.beta_1)
    velocity = moments.velocity + (gradient * gradient - moments.velocity) * (1 - settings.beta_2)
    return weight - momentum * size / (square_root(velocity) + settings.epsilon), Moments(momentum, velocity)


def rectified_size(learning_rate: Any, step: Any, settings: EngineSettings, ops: Any) -> RectifiedSize:
    """Return RAdam's step: plain momentum while the second moment's variance is unknown, then Adam rectified.

    Args:
        learning_rate: of this update.
        step: counts from 1, a float.
        settings: the two decays.
        ops: ``keras.ops``.

    Source: Liu and others 2020, "On the Variance of the Adaptive Learning Rate and Beyond".
    """
    limit = 2 / (1 - settings.beta_2) - 1
    # 2 t b^t / (1 - b^t), written so that float32 keeps its digits while t is small
    length = limit - 2 * step / ops.expm1(-step * math.log(settings.beta_2))
    factor = (length - 4) * (length - 2) * limit / ((limit - 4) * (limit - 2) * length)
    known = ops.cast(length > 4, "float32")
    root = ops.sqrt(ops.maximum(factor, 0.0))
    plain = learning_rate / (1 - settings.beta_1**step) * (1 - known)
    return RectifiedSize(step_size(learning_rate, step, settings) * root * known, plain)


def radam(
    weight: Any, gradient: Any, moments: Moments, size: RectifiedSize, settings: EngineSettings
) -> tuple[Any, Moments]:
    """Return the next weight and moments, decay left out."""
    momentum = moments.momentum + (gradient - moments.momentum) * (1 - settings.beta_1)
    velocity = moments.velocity + (gradient * gradient - moments.velocity) * (1 - settings.beta_2)
    scale = size.adaptive / (square_root(velocity) + settings.epsilon) + size.plain
    return weight - momentum * scale, Moments(momentum, velocity)


def average_decay(step: Any, settings: EngineSettings, ops: Any) -> Any:
    """Return the decay of the averaged weights at a step, a float that counts from 1."""
    if not settings.ema_warmup:
        return settings.ema
    return ops.minimum((1 + step) / (10 + step), settings.ema)
