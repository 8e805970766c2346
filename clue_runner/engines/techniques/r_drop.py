"""R-Drop: two passes with different dropout masks, whose outputs are pulled together.

The loss is the mean of both passes' losses plus alpha / 4 of their symmetric divergence, as in
kexue.fm/archives/8496; in the notation of Liang and others 2021, "R-Drop", that is half of all.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from clue_runner.config.schema import Section
from clue_runner.engines.techniques.base import Extra, Loss, Technique, refuse


class RDropSettings(Section):
    """How much the divergence counts."""

    r_drop: Annotated[float, Field(gt=0)] | None = Field(
        None,
        description="R-Drop: add a quarter of this times the symmetric divergence of two passes; null: off",
    )


class RDrop(Technique):
    """Twice through the network, at the price of both."""

    settings: RDropSettings
    settings_type = RDropSettings
    changes_loss = True
    calls_network = True

    def extra(self, *, recomputed: bool) -> Extra:
        """Return both passes, which the divergence needs at once."""
        return Extra(passes=2.0, scores=2.0)

    def prepare(self, network: Any) -> None:
        """Refuse heads whose scores are no distributions."""
        refuse("r_drop", network.reason_against("r_drop"))

    def loss(self, inner: Loss, batch: Mapping[str, Any], key: Any) -> tuple[Any, Any]:
        """Return the mean of both losses with the divergence in it."""
        from clue_runner.models.dropout import fold

        network, quarter = inner.network, 0.25 * (self.settings.r_drop or 0.0)
        first, second = (network.draws(batch, one) for one in (key, fold(key, "r_drop")))
        loss, weight = network.mean_loss([*first, *second], batch)
        apart = sum(network.divergence(*pair, batch) for pair in zip(first, second, strict=True))
        return loss + quarter * apart / len(first), weight
