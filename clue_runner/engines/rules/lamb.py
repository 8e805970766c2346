"""LAMB: Adam's direction, with weight decay in it, as long as the weight itself.

Knows nothing about engines. Source: You and others 2020, "Large Batch Optimization for Deep Learning:
Training BERT in 76 minutes". Without weight decay it is the arithmetic of ``keras.optimizers.Lamb``, which
decays before the step.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from clue_runner.engines.rules.adamw import AdamW
from clue_runner.engines.rules.base import Slots, square_root


class Size(NamedTuple):
    """The rate, and what corrects both moments for having begun at 0."""

    rate: Any
    first: Any
    second: Any


class Lamb(AdamW):
    """A step of the rate times the weight's length, in the direction of Adam's."""

    skips_unused_rows = False  # lengths are of the whole weight

    def decay(self, rate: Any) -> None:
        """Return None: decay is part of the direction."""

    def size(self, rate: Any, step: Any) -> Size:
        """Return the rate and the two corrections."""
        return Size(rate, 1 - self.settings.beta_1**step, 1 - self.settings.beta_2**step)

    def step(self, weight: Any, gradient: Any, slots: Slots, size: Size) -> tuple[Any, dict[str, Any]]:
        """Return the next weight and moments."""
        from keras import ops

        moments = self.moments(gradient, slots)
        root = square_root(moments["velocity"] / size.second) + self.settings.epsilon
        direction = moments["momentum"] / size.first / root
        if self.weight_decay:
            direction = direction + weight * self.weight_decay
        own, other = (ops.sqrt(ops.sum(ops.square(value))) for value in (weight, direction))
        known = ops.logical_and(own > 0, other > 0)
        trust = ops.where(known, own / ops.where(known, other, 1.0), 1.0)
        return weight - direction * (trust * size.rate), moments
