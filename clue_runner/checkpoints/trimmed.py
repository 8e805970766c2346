"""A checkpoint with another vocabulary: its embedding tables hold the remaining rows, and the added ones.

In: an opened checkpoint, new id -> old ids. Out: a checkpoint whose other tensors are as they were. Its hash
stays that of the files; which rows were taken follows from the vocabulary, which is hashed by itself.
Knows nothing about texts or single families.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clue_runner.checkpoints.checkpoint import Checkpoint, Weights
from clue_runner.config.schema import ModelSettings
from clue_runner.errors import UsageError
from clue_runner.files.names import as_given
from clue_runner.tokens.any_tokenizer import AnyTokenizer
from clue_runner.tokens.kept import COMPOUND, KEEP, Rows, mean_rows, trim_vocabulary
from clue_runner.tokens.tokenizer import Tokenizer


class TrimmedWeights(Weights):
    """Weights, some of them with other rows.

    Args:
        whole: the weights as stored.
        tables: names of those whose axes count pieces -> which axis.
        rows: new id -> old ids.
    """

    def __init__(self, whole: Weights, tables: Mapping[str, int], rows: Rows) -> None:
        self._whole, self._tables, self._rows = whole, tables, rows

    def exact(self, name: str) -> NDArray[Any]:
        """Return one tensor in our layout and in the type that it is stored in."""
        value = self._whole.exact(name)
        if name not in self._tables:
            return value
        axis = self._tables[name]
        return np.moveaxis(mean_rows(np.moveaxis(value, axis, 0), self._rows), 0, axis)

    def stored(self, name: str) -> NDArray[Any]:
        """Return one tensor as it is stored, by the checkpoint's own name."""
        return self._whole.stored(name)

    def digests(self) -> Mapping[Path, str]:
        """Return the sha256 of each file that holds weights."""
        return self._whole.digests()

    def release(self) -> None:
        """Release values that were read for the hash and are not needed."""
        self._whole.release()

    def shape(self, name: str) -> tuple[int, ...]:
        """Return one tensor's shape in our layout; reads no value."""
        shape = list(self._whole.shape(name))
        if name in self._tables:
            shape[self._tables[name]] = len(self._rows)
        return tuple(shape)

    def __iter__(self) -> Iterator[str]:
        """Iterate over our names."""
        return iter(self._whole)

    def __len__(self) -> int:
        """Return the number of tensors."""
        return len(self._whole)


def trim(checkpoint: Checkpoint, rows: Rows) -> Checkpoint:
    """Return a checkpoint for another vocabulary.

    Args:
        checkpoint: as opened, without pre-training heads, whose output repeats the token embeddings.
        rows: new id -> the old ids whose mean is its row.
    """
    if checkpoint.heads:
        raise ValueError("a checkpoint with pre-training heads keeps its vocabulary")
    size = checkpoint.vocab_size
    now, longer = checkpoint.shape.axes(size), checkpoint.shape.axes(size + 1)
    counting = {axis for axis, length in now.items() if longer[axis] != length}
    tables = {
        entry.ours: place
        for entry in checkpoint.entries()
        for place, axis in enumerate(entry.axes)
        if axis in counting
    }
    return replace(checkpoint, weights=TrimmedWeights(checkpoint.weights, tables, rows), vocab_size=len(rows))


def fewer_pieces(
    model: ModelSettings,
    tokenizer: AnyTokenizer,
    checkpoint: Checkpoint | None,
    encode: Callable[[AnyTokenizer], object],
    say: Callable[[str], None],
) -> tuple[AnyTokenizer, Checkpoint | None]:
    """Return a run's tokenizer and checkpoint, with the pieces that its settings leave.

    Args:
        model: ``keep_tokens`` and ``compound_tokens``; without both nothing changes.
        tokenizer: the checkpoint's, or the shipped one.
        checkpoint: None: the run starts from random weights.
        encode: called with a tokenizer, encodes all texts of the run with it.
        say: called with a message about the changes.

    Raises:
        UsageError: as ``trim_vocabulary``, or a task that builds its vocabulary from its own texts.
    """
    if model.keep_tokens is None and model.compound_tokens is None:
        return tokenizer, checkpoint
    if not isinstance(tokenizer, Tokenizer):
        raise UsageError("this kind of task builds its own vocabulary", where=f"{KEEP}, {COMPOUND}")
    keep, compound = (
        None if name is None else str(as_given(name)) for name in (model.keep_tokens, model.compound_tokens)
    )
    trimmed = trim_vocabulary(tokenizer, keep=keep, compound=compound, encode=encode)
    say(trimmed.note)
    return trimmed.tokenizer, checkpoint and trim(checkpoint, trimmed.rows)
