"""Adversarial training (FGM): embedded tokens are perturbed to raise the loss, which is then minimised.

Each row is moved by a fixed length along its own gradient, so that the step does not depend on the rows
beside it. Both passes draw the same dropout masks.
Sources: Miyato and others 2017, "Adversarial Training Methods for Semi-Supervised Text Classification";
kexue.fm/archives/7234, whose code moves the whole embedding table once per batch and trains on the moved
pass alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from clue_runner.config.schema import Section
from clue_runner.engines.techniques.base import (
    Extra,
    Gradients,
    Pass,
    Technique,
    immovable,
    refuse,
)

TINY = 1e-12


class FgmSettings(Section):
    """How far tokens are perturbed."""

    fgm: Annotated[float, Field(gt=0)] | None = Field(
        None, description="adversarial training: norm of the step of a row's embedded tokens; null: off"
    )
    fgm_clean: bool = Field(False, description="adversarial training: train on the unperturbed rows as well")


class Fgm(Technique):
    """One pass to find the direction, one to train."""

    settings: FgmSettings
    settings_type = FgmSettings

    def extra(self, *, recomputed: bool) -> Extra:
        """Return the noise, its gradient, and where they count the first pass's gradients."""
        return Extra(gradients=int(self.settings.fgm_clean), noises=2)

    def prepare(self, network: Any) -> None:
        """Refuse networks whose tokens cannot be perturbed."""
        refuse("fgm", immovable(network))

    def __call__(self, once: Pass, batch: Mapping[str, Any], key: Any) -> Gradients:
        """Return the gradients at the perturbed tokens, or the sum of both passes."""
        first = once(batch, key, 0.0)
        moved = once(batch, key, self.settings.fgm * by_row(first.noise))
        return first._replace(noise=None).plus(moved) if self.settings.fgm_clean else moved


def by_row(gradient: Any) -> Any:
    """Return the gradient (rows, length, width) with each row's length 1; a row of 0 stays 0."""
    from keras import ops

    squares = ops.sum(ops.square(gradient), axis=(1, 2), keepdims=True)
    return gradient * ops.rsqrt(ops.maximum(squares, TINY**2))
