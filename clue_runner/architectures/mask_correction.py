"""The correction of a token table for the masks that pre-training put into its inputs.

In: a table, the row of [MASK], how tokens were masked. Out: the table as its rows were seen on average.
Knows nothing about files or networks.

Masked-word training shows a token as itself only some of the time; fine-tuning always does. Seen as dropout,
the table to continue from is the mean of what was shown: with a share r of tokens chosen, of which a part a
became [MASK], b stayed and c became any token, row E is (1 - r + r b) E + r a E[MASK] + r c mean(E).
Source: kexue.fm/archives/8770, which found no gain on CLUE.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from clue_runner.architectures.base import Architecture
from clue_runner.config.schema import ModelSettings
from clue_runner.errors import UsageError

SETTING = "model.mlm_correction"


class Masking(NamedTuple):
    """How pre-training masked: the share of tokens chosen, and what became of these (sums to 1)."""

    rate: float
    mask: float = 0.8
    keep: float = 0.1
    random: float = 0.1


def masking_of(model: ModelSettings) -> Masking | None:
    """Return what a run's settings say; None: nothing is corrected."""
    if model.mlm_correction is None:
        return None
    return Masking(model.mlm_correction, *(float(part) for part in model.mlm_split.split("/")))


def corrected(table: NDArray[Any], mask_row: int, masking: Masking) -> NDArray[np.float32]:
    """Return the mean of what each row was shown as.

    Args:
        table: (rows, width) float32.
        mask_row: of [MASK].
        masking: how tokens were masked.
    """
    exact = table.astype(np.float64)
    rate, mask, keep, random = masking
    own = 1 - rate + rate * keep
    return np.asarray(
        own * exact + rate * mask * exact[mask_row] + rate * random * exact.mean(axis=0), dtype=np.float32
    )


def require_correctable(architecture: Architecture, *, trained_by_us: bool, heads: tuple[str, ...]) -> str:
    """Return the name of the table that is corrected.

    Args:
        architecture: of the checkpoint.
        trained_by_us: the checkpoint is a state of a run.
        heads: heads of pre-training that the network continues with.

    Raises:
        UsageError: it must not be; the message says why.
    """
    table = architecture.shape.MASKED
    why = None
    if table is None:
        why = f"{architecture.name} was not pre-trained on masked words, so its embeddings saw no masks"
    elif trained_by_us:
        why = "the weights come from a run, which has trained on unmasked inputs since"
    elif heads:
        why = f"the embeddings are still the output layer of {', '.join(heads)}"
    if why or table is None:
        raise UsageError(
            f"the token embeddings must not be corrected: {why}",
            where=SETTING,
            next_step=f"--set {SETTING}=null",
        )
    return table
