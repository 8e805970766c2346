"""AdamW: the same arithmetic as ``keras.optimizers.AdamW``.

Knows nothing about engines. Source: Loshchilov and Hutter 2019, "Decoupled Weight Decay Regularization".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from clue_runner.config.schema import Section, Share
from clue_runner.engines.rules.base import Shape, Slots, UpdateRule, square_root


class AdamSettings(Section):
    """How long the two moments remember."""

    beta_1: Share = Field(0.9, description="decay of the first moment")
    beta_2: Share = Field(0.999, description="decay of the second moment")
    epsilon: Annotated[float, Field(gt=0)] = Field(1e-6, description="added to the root of the second moment")


class AdamW(UpdateRule):
    """Running means of the gradient and of its square; a step is the first over the root of the second."""

    settings: AdamSettings
    settings_type = AdamSettings
    skips_unused_rows = True
    kernel = "adam"

    def slots(self, shape: Shape) -> Mapping[str, Shape]:
        """Return both moments, each of the weight's shape."""
        return {"momentum": shape, "velocity": shape}

    def size(self, rate: Any, step: Any) -> Any:
        """Return the step's size, corrected for moments that begin at 0."""
        settings = self.settings
        return rate * (1 - settings.beta_2**step) ** 0.5 / (1 - settings.beta_1**step)

    def step(self, weight: Any, gradient: Any, slots: Slots, size: Any) -> tuple[Any, dict[str, Any]]:
        """Return the next weight and moments."""
        moments = self.moments(gradient, slots)
        root = square_root(moments["velocity"]) + self.settings.epsilon
        return weight - moments["momentum"] * size / root, moments

    def moments(self, gradient: Any, slots: Slots) -> dict[str, Any]:
        """Return the next moments."""
        momentum, velocity = slots["momentum"], slots["velocity"]
        return {
            "momentum": momentum + (gradient - momentum) * (1 - self.settings.beta_1),
            "velocity": velocity + (gradient * gradient - velocity) * (1 - self.settings.beta_2),
        }
