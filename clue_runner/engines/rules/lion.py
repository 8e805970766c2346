"""Lion: the sign of a smoothed gradient; one moment is kept. Equal to ``keras.optimizers.Lion``.

Knows nothing about engines. Source: Chen and others 2023, "Symbolic Discovery of Optimization Algorithms".
Its authors advise a third to a tenth of AdamW's rate, and as many times its weight decay.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from clue_runner.config.schema import Section, Share
from clue_runner.engines.rules.base import Shape, Slots, UpdateRule


class LionSettings(Section):
    """How the gradient is smoothed."""

    beta_1: Share = Field(0.9, description="weight of the moment in the value whose sign is the step")
    beta_2: Share = Field(0.99, description="decay of the moment")


class Lion(UpdateRule):
    """Every element moves by the rate, up or down."""

    settings: LionSettings
    settings_type = LionSettings
    skips_unused_rows = True

    def slots(self, shape: Shape) -> Mapping[str, Shape]:
        """Return the moment, of the weight's shape."""
        return {"momentum": shape}

    def size(self, rate: Any, step: Any) -> Any:
        """Return the rate."""
        return rate

    def step(self, weight: Any, gradient: Any, slots: Slots, size: Any) -> tuple[Any, dict[str, Any]]:
        """Return the next weight and moment."""
        from keras import ops

        momentum, settings = slots["momentum"], self.settings
        mixed = momentum * settings.beta_1 + gradient * (1 - settings.beta_1)
        kept = momentum * settings.beta_2 + gradient * (1 - settings.beta_2)
        return weight - ops.sign(mixed) * size, {"momentum": kept}
