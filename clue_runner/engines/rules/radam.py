"""RAdam: Adam whose early steps are rectified, so that it needs no warm-up.

Knows nothing about engines.
Source: Liu and others 2020, "On the Variance of the Adaptive Learning Rate and Beyond".
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from clue_runner.engines.rules.adamw import AdamW
from clue_runner.engines.rules.base import Slots, square_root


class RectifiedSize(NamedTuple):
    """The step: ``adaptive`` is divided by the root of the second moment, ``plain`` is not; one is 0."""

    adaptive: Any
    plain: Any


class RAdam(AdamW):
    """Plain momentum while the second moment's variance is unknown, then Adam, its steps rectified."""

    def size(self, rate: Any, step: Any) -> RectifiedSize:
        """Return both parts of the step."""
        from keras import ops

        beta_1, beta_2 = self.settings.beta_1, self.settings.beta_2
        limit = 2 / (1 - beta_2) - 1
        # 2 t b^t / (1 - b^t), written so that float32 keeps its digits while t is small
        length = limit - 2 * step / ops.expm1(-step * math.log(beta_2))
        factor = (length - 4) * (length - 2) * limit / ((limit - 4) * (limit - 2) * length)
        known = ops.cast(length > 4, "float32")
        root = ops.sqrt(ops.maximum(factor, 0.0))
        plain = rate / (1 - beta_1**step) * (1 - known)
        return RectifiedSize(super().size(rate, step) * root * known, plain)

    def step(
        self, weight: Any, gradient: Any, slots: Slots, size: RectifiedSize
    ) -> tuple[Any, dict[str, Any]]:
        """Return the next weight and moments."""
        moments = self.moments(gradient, slots)
        scale = size.adaptive / (square_root(moments["velocity"]) + self.settings.epsilon) + size.plain
        return weight - moments["momentum"] * scale, moments
