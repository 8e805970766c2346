"""Label smoothing: part of every target is spread evenly over all classes.

Equal to ``keras.losses.CategoricalCrossentropy(label_smoothing=...)`` and PyTorch's. Among choices, it is
spread over those of the question. Source: Szegedy and others 2016, "Rethinking the Inception Architecture".
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from clue_runner.config.schema import Section
from clue_runner.engines.techniques.base import Technique, refuse


class LabelSmoothingSettings(Section):
    """How much is spread."""

    label_smoothing: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        None, description="fraction of a target spread evenly over all classes; null: off"
    )


class LabelSmoothing(Technique):
    """The head's own loss takes the target from here."""

    settings: LabelSmoothingSettings
    settings_type = LabelSmoothingSettings

    def prepare(self, network: Any) -> None:
        """Tell the head, or refuse one that has no classes."""
        refuse("label_smoothing", network.reason_against("label_smoothing"))
        network.objective = network.objective._replace(smoothing=self.settings.label_smoothing)
