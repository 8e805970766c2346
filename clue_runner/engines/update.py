"""One update's arithmetic, the same for both backends: mean loss, norm, clipping, then each weight's step.

In: sums over all micro-batches; a weight, its gradient and what the rule keeps for it. Out: figures; the next
values. Knows nothing about where tensors live or how gradients are computed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from keras import ops

from clue_runner.engines.average import averaged, kept_share
from clue_runner.engines.base import EngineSettings
from clue_runner.engines.rules.base import Slots, UpdateRule
from clue_runner.models.naming import decays


class Figures(NamedTuple):
    """What is known of an update before it is applied.

    Args:
        loss: mean over the examples.
        weight: sum of example weights, never 0.
        norm: of the mean loss's gradient, before clipping.
        finite: whether loss and norm are numbers.
        scale: what gradients of the loss sum are multiplied with: one over the weight, and the clip.
    """

    loss: Any
    weight: Any
    norm: Any
    finite: Any
    scale: Any


def figures_of(loss: Any, weight: Any, squares: Any, clip_norm: float | None) -> Figures:
    """Return the figures of an update.

    Args:
        loss: sum of example losses.
        weight: sum of example weights.
        squares: sum of squares of the gradient of the loss sum.
        clip_norm: the norm at most; None: any.
    """
    weight = ops.maximum(weight, np.finfo(np.float32).tiny)
    loss = loss / weight
    norm = ops.sqrt(squares) / weight
    scale = 1 / weight
    if clip_norm is not None:
        scale = scale * ops.minimum(1.0, clip_norm / ops.maximum(norm, clip_norm * 1e-6))
    return Figures(loss, weight, norm, ops.logical_and(ops.isfinite(loss), ops.isfinite(norm)), scale)


class Move:
    """What one update does to each weight.

    Args:
        settings: rule and average.
        step: number of the update from 1, a whole-number scalar.
        learning_rate: of the update.
        scale: what gradients are multiplied with.
        factors: of the learning rate by the weight's name; 1 where there is none.
    """

    def __init__(
        self,
        settings: EngineSettings,
        step: Any,
        learning_rate: Any,
        scale: Any,
        factors: Mapping[str, float],
    ) -> None:
        self.count = ops.cast(step, "float32")
        self.scale = scale
        self._learning_rate, self._factors = learning_rate, factors
        self._rules = {True: settings.rule, False: settings.rule.without_decay()}
        self._sizes: dict[tuple[bool, float], Any] = {}
        self._kept = (
            None if settings.ema is None else kept_share(self.count, settings.ema, warmup=settings.ema_warmup)
        )

    def rule(self, name: str) -> UpdateRule:
        """Return the rule of a weight, which knows whether the weight decays."""
        return self._rules[decays(name)]

    def rate(self, name: str) -> Any:
        """Return the learning rate of a weight."""
        factor = self._factors.get(name, 1.0)
        return self._learning_rate if factor == 1 else self._learning_rate * factor

    def decay(self, name: str) -> Any | None:
        """Return what a weight is multiplied with before its step; None: nothing."""
        return self.rule(name).decay(self.rate(name))

    def _size(self, name: str) -> Any:
        """Return what all weights of one rate and one decay share."""
        key = decays(name), self._factors.get(name, 1.0)
        if key not in self._sizes:
            self._sizes[key] = self.rule(name).size(self.rate(name), self.count)
        return self._sizes[key]

    def step(self, name: str, weight: Any, gradient: Any, slots: Slots) -> tuple[Any, dict[str, Any]]:
        """Return the next value of a decayed weight, and its next slots."""
        return self.rule(name).step(weight, gradient * self.scale, slots, self._size(name))

    def whole(self, name: str, weight: Any, gradient: Any, slots: Slots) -> tuple[Any, dict[str, Any]]:
        """Return what ``step`` does, of a weight that has not decayed yet."""
        factor = self.decay(name)
        return self.step(name, weight if factor is None else weight * factor, gradient, slots)

    def average(self, average: Any, weight: Any) -> Any:
        """Return the next average of a weight."""
        return averaged(average, weight, self._kept)
