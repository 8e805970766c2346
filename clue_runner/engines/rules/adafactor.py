"""AdaFactor as in bert4keras: steps in proportion to a weight's size, a first moment, factoring optional.

Knows nothing about engines. Sources: Shazeer and Stern 2018, "Adafactor"; bert4keras' ``AdaFactor``.
The CLUE baselines (kexue.fm/archives/8739) use it with a first moment of 0.9 and without factors.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, NamedTuple

import numpy as np
from pydantic import Field

from clue_runner.config.schema import Positive, Section, Share
from clue_runner.engines.rules.base import Shape, Slots, UpdateRule, square_root

Small = Annotated[float, Field(gt=0)]


class AdaFactorSettings(Section):
    """How steps are smoothed, bounded and scaled."""

    beta_1: Share = Field(0.9, description="decay of the first moment, a mean of steps; 0: off")
    beta_2_power: Share = Field(0.8, description="the second moment's decay at update t is 1 - t^-power")
    epsilon: Small = Field(1e-30, description="added to the square of the gradient")
    factor_from: Positive | None = Field(
        None, description="keep only means of rows and columns if both are at least this long; null: never"
    )
    step_rms: Small | None = Field(1.0, description="limit of an unscaled step's RMS; null: none")
    scaled: bool = Field(True, description="scale each step by the root mean square of its weight")
    scale_floor: Small = Field(1e-3, description="minimum of that scale")


class Size(NamedTuple):
    """What all weights of an update share."""

    rate: Any
    beta_2: Any


class AdaFactor(UpdateRule):
    """The gradient over the root of its second moment, its size bounded, smoothed, scaled by the weight's."""

    settings: AdaFactorSettings
    settings_type = AdaFactorSettings

    def slots(self, shape: Shape) -> Mapping[str, Shape]:
        """Return the first moment, and the second: whole, or means over each of the two longest axes."""
        axes = self._factored(shape)
        if axes is None:
            kept: dict[str, Shape] = {"velocity": shape}
        else:
            kept = {
                name: tuple(1 if place == axis else size for place, size in enumerate(shape))
                for name, axis in zip(("row", "column"), axes, strict=True)
            }
        return kept | ({"momentum": shape} if self.settings.beta_1 > 0 else {})

    def size(self, rate: Any, step: Any) -> Size:
        """Return the rate and the second moment's decay."""
        return Size(rate, 1 - step**-self.settings.beta_2_power)

    def step(self, weight: Any, gradient: Any, slots: Slots, size: Size) -> tuple[Any, dict[str, Any]]:
        """Return the next weight and moments."""
        settings = self.settings
        kept, velocity = self._second_moment(gradient * gradient + settings.epsilon, slots, size.beta_2)
        move = gradient / square_root(velocity + settings.epsilon)
        if settings.step_rms is not None:
            move = move / _at_least(root_mean_square(move) / settings.step_rms, 1.0)
        if settings.beta_1 > 0:
            move = slots["momentum"] * settings.beta_1 + move * (1 - settings.beta_1)
            kept["momentum"] = move
        if settings.scaled:
            move = move * _at_least(root_mean_square(weight), settings.scale_floor)
        return weight - move * size.rate, kept

    def _second_moment(self, squares: Any, slots: Slots, beta_2: Any) -> tuple[dict[str, Any], Any]:
        """Return what is kept of it, and the second moment itself."""
        from keras import ops

        axes = self._factored(tuple(squares.shape))
        if axes is None:
            velocity = slots["velocity"] * beta_2 + squares * (1 - beta_2)
            return {"velocity": velocity}, velocity
        row, column = (
            slots[name] * beta_2 + ops.mean(squares, axis=axis, keepdims=True) * (1 - beta_2)
            for name, axis in zip(("row", "column"), axes, strict=True)
        )
        mean = ops.mean(row, axis=axes[1], keepdims=True)
        return {"row": row, "column": column}, row * column / mean

    def _factored(self, shape: Shape) -> tuple[int, int] | None:
        """Return the longest axis and the second longest; None: this weight's squares are kept whole."""
        if self.settings.factor_from is None or len(shape) < 2:
            return None
        *_, second, longest = (int(axis) for axis in np.argsort(shape, kind="stable"))
        return (longest, second) if shape[second] >= self.settings.factor_from else None


def root_mean_square(value: Any) -> Any:
    """Return a float32 scalar."""
    from keras import ops

    return ops.sqrt(ops.mean(ops.square(value)))


def _at_least(value: Any, floor: float) -> Any:
    from keras import ops

    return ops.maximum(value, floor)
