"""Multi-sample dropout: several masks before the output layer, and the mean of their losses.

The backbone runs once. Source: Inoue 2019, "Multi-Sample Dropout for Accelerated Training and Better
Generalization".
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from clue_runner.config.schema import Section
from clue_runner.engines.techniques.base import Extra, Technique, refuse


class MultiSampleDropoutSettings(Section):
    """How many masks."""

    multi_sample_dropout: Annotated[int, Field(ge=2)] | None = Field(
        None, description="dropout masks before the output layer whose losses are averaged; null: one"
    )


class MultiSampleDropout(Technique):
    """The head draws its last dropout several times."""

    settings: MultiSampleDropoutSettings
    settings_type = MultiSampleDropoutSettings

    def extra(self, *, recomputed: bool) -> Extra:
        """Return the scores of each mask."""
        return Extra(scores=float(self.settings.multi_sample_dropout or 1))

    def prepare(self, network: Any) -> None:
        """Tell the head, or refuse one without such a layer."""
        refuse("multi_sample_dropout", network.reason_against("multi_sample_dropout"))
        network.objective = network.objective._replace(samples=self.settings.multi_sample_dropout)
