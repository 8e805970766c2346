"""Puts a checkpoint's weights into an engine, corrected for masked-word pre-training if asked for.

In: an engine, an opened checkpoint, settings. Out: the engine's weights changed.
Knows nothing about steps, epochs or run folders.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clue_runner.architectures.mask_correction import corrected, masking_of, require_correctable
from clue_runner.checkpoints.checkpoint import Checkpoint
from clue_runner.checkpoints.load import load_into
from clue_runner.config.schema import ModelSettings
from clue_runner.engines import Engine
from clue_runner.tokens.any_tokenizer import AnyTokenizer
from clue_runner.tokens.tokenizer import Tokenizer


@dataclass
class _Slot:
    """A weight that a checkpoint may assign."""

    value: NDArray[Any]

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the weight's shape."""
        return self.value.shape

    @property
    def dtype(self) -> Any:
        """Return the weight's type."""
        return self.value.dtype

    def assign(self, value: NDArray[Any]) -> None:
        """Assign the checkpoint's values in the weight's own type."""
        self.value = np.asarray(value, dtype=self.value.dtype)


def correctable_table(checkpoint: Checkpoint) -> str:
    """Return the name of the table that ``model.mlm_correction`` corrects.

    Raises:
        UsageError: this checkpoint's must not be corrected; the message tells why.
    """
    trained_by_us = checkpoint.layout == "native"
    return require_correctable(checkpoint.architecture, trained_by_us=trained_by_us, heads=checkpoint.heads)


def load_pretrained(
    engine: Engine, checkpoint: Checkpoint, model: ModelSettings, tokenizer: AnyTokenizer
) -> list[str]:
    """Load a checkpoint's weights into a network, corrected once if ``model.mlm_correction`` is set.

    A resumed run restores a state instead, which has the corrected table.

    Returns:
        The names that keep their random values.
    """
    slots = {name: _Slot(value) for name, value in engine.get_weights(averaged=False).items()}
    kept = load_into(slots, checkpoint)
    masking = masking_of(model)
    if masking is not None and isinstance(tokenizer, Tokenizer):
        table = slots[correctable_table(checkpoint)]
        table.assign(corrected(table.value, tokenizer.mask_id, masking))
    engine.set_weights({name: slot.value for name, slot in slots.items()})
    return kept
