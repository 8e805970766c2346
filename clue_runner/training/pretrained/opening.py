"""Open the pre-trained checkpoint that a run names.

In: a run's settings. Out: a ``Checkpoint``, every tensor accounted for. Knows nothing about networks.
"""

from __future__ import annotations

from collections.abc import Sequence

from clue_runner.architectures.base import load_architecture
from clue_runner.checkpoints.checkpoint import Checkpoint
from clue_runner.checkpoints.importer import read_checkpoint
from clue_runner.config.schema import Run
from clue_runner.config.shipped import as_given
from clue_runner.training.pretrained.weights import correctable_table


def open_checkpoint(run: Run, heads: Sequence[str] = ()) -> Checkpoint | None:
    """Return the pre-trained checkpoint of a run, every tensor accounted for; None for random weights.

    Args:
        run: its settings.
        heads: pre-training heads to use too, if the family has them.

    Raises:
        CheckpointError: it cannot be used.
    """
    if run.model.init == "random" or run.model.checkpoint is None:
        return None
    ignore = [name.strip() for name in (run.model.ignore or "").split(",") if name.strip()]
    known = {group.name for group in load_architecture(run.model.family).names.groups}
    cut = run.model.keep_tokens or run.model.compound_tokens  # a head keeps its vocabulary
    wanted = [name for name in heads if name in known and not cut]
    checkpoint = read_checkpoint(as_given(run.model.checkpoint), heads=wanted, ignore=ignore)
    if run.model.mlm_correction is not None:
        correctable_table(checkpoint)
    return checkpoint
