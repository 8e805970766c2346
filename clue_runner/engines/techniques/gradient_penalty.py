"""Gradient penalty: adds the squared norm of the loss's gradient with respect to the embedded tokens.

The norm is taken per row. Sources: kexue.fm/archives/7234 (the first-order effect of adversarial
training), bert4keras ``task_iflytek_gradient_penalty.py``, where it is that of the whole embedding table.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from clue_runner.config.schema import Section
from clue_runner.engines.techniques.base import Extra, Loss, Technique, immovable, refuse

# Values that live at once: those of the pass, those of its gradient, and the gradients of the former, which
# are complete only after the latter.
PASSES = 3.0


class GradientPenaltySettings(Section):
    """How much the penalty counts."""

    gradient_penalty: Annotated[float, Field(gt=0)] | None = Field(
        None, description="add half of this times the squared gradient norm of each row's tokens; null: off"
    )


class GradientPenalty(Technique):
    """The gradient of a gradient, exact: one more pass back through both passes."""

    settings: GradientPenaltySettings
    settings_type = GradientPenaltySettings
    changes_loss = True

    def extra(self, *, recomputed: bool) -> Extra:
        """Return the passes whose values wait for one another; counted, not measured."""
        return Extra(passes=PASSES, noises=2, scores=2.0)

    def prepare(self, network: Any) -> None:
        """Refuse networks whose tokens cannot be moved."""
        refuse("gradient_penalty", immovable(network))

    def loss(self, inner: Loss, batch: Mapping[str, Any], key: Any) -> tuple[Any, Any]:
        """Return the loss with the penalty in it."""
        from keras import ops

        loss, weight, gradient = inner.slope(batch, key)
        half = 0.5 * (self.settings.gradient_penalty or 0.0)
        return loss + half * ops.sum(ops.square(gradient)), weight
