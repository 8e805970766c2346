"""Focal loss: an easy example counts less, by (1 - p)^gamma of its class.

Equal to ``keras.losses.CategoricalFocalCrossentropy(alpha=1)``, label smoothing included.
Source: Lin and others 2017, "Focal Loss for Dense Object Detection".
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from clue_runner.config.schema import Section
from clue_runner.engines.techniques.base import Technique, refuse


class FocalSettings(Section):
    """How fast examples lose their weight."""

    focal: Annotated[float, Field(gt=0)] | None = Field(
        None, description="focal loss: gamma, the power of 1 - p that weights each class; null: off"
    )


class Focal(Technique):
    """The head's own loss takes gamma from here."""

    settings: FocalSettings
    settings_type = FocalSettings

    def prepare(self, network: Any) -> None:
        """Tell the head, or refuse one that has no classes."""
        refuse("focal", network.reason_against("focal"))
        network.objective = network.objective._replace(focus=self.settings.focal)
