"""An opened checkpoint: what it is, what became of each tensor, and its values on demand.

In: a reader and the plan that accounts for its tensors. Out: float32 arrays by our names.
Knows nothing about layouts or folders; ``importer`` makes these.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clue_runner.architectures.base import Architecture, BaseShape
from clue_runner.architectures.name_table import Entry, Layout
from clue_runner.checkpoints.files import TensorReader, combine_hashes, hash_files
from clue_runner.checkpoints.plan import Source, TensorUse
from clue_runner.errors import CheckpointError

# Stored types that become float32 without losing a bit.
EXACT = ("float32", "float16", "bfloat16")


class Weights(Mapping[str, NDArray[np.float32]]):
    """Our names -> float32 arrays in our layout; a value is read from the disk each time it is asked for."""

    def __init__(self, reader: TensorReader, sources: Mapping[str, Source], folder: Path) -> None:
        """Keep where each tensor comes from."""
        self._reader = reader
        self._sources = sources
        self._folder = folder

    def __getitem__(self, name: str) -> NDArray[np.float32]:
        """Read one tensor.

        Raises:
            CheckpointError: it is not a floating type that float32 holds exactly, or not all finite.
        """
        source = self._sources[name]
        stored = self._reader.read(source.name)
        if stored.dtype.name not in EXACT:
            raise CheckpointError(
                f"tensor {source.name} has a type that is not supported",
                where=str(self._folder),
                received=stored.dtype.name,
                allowed=", ".join(EXACT),
                next_step="convert the checkpoint to float32",
            )
        value = np.ascontiguousarray(stored.T if source.transposed else stored, dtype=np.float32)
        if not np.isfinite(value).all():
            raise CheckpointError(
                f"tensor {source.name} holds NaN or infinity",
                where=str(self._folder),
                received=f"{int((~np.isfinite(value)).sum())} of {value.size} values",
                next_step="the file is damaged or its training diverged: take another checkpoint",
            )
        return value

    def shape(self, name: str) -> tuple[int, ...]:
        """Return one tensor's shape in our layout; reads no value."""
        source = self._sources[name]
        stored = self._reader.shapes()[source.name]
        return stored[::-1] if source.transposed else stored

    def __iter__(self) -> Iterator[str]:
        """Iterate over our names."""
        return iter(self._sources)

    def __len__(self) -> int:
        """Return the number of tensors."""
        return len(self._sources)


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint whose every tensor is accounted for.

    Args:
        folder: where it lies.
        layout: whose format it is.
        architecture: its family.
        shape: that its config describes.
        config: settings of ``model:`` that it fixes (shape, activation, dropout, lowercase).
        vocab_size: rows of the word table.
        vocab: its vocab.txt; None where it has none.
        lowercase: whether its texts are lower-cased.
        weights: our names -> float32 arrays, read lazily.
        report: what became of each tensor.
        absent: groups of the family's table that it lacks as a whole. Without a pooler ``pooled`` is None,
            and a run with ``pooling: pooler`` trains a new one.
        notices: what the user should be told.
        files: every file that decides the result.
        heads: groups of pre-training that were asked for.
    """

    folder: Path
    layout: Layout
    architecture: Architecture
    shape: BaseShape
    config: dict[str, Any]
    vocab_size: int
    vocab: Path | None
    lowercase: bool
    weights: Weights
    report: tuple[TensorUse, ...]
    absent: frozenset[str]
    notices: tuple[str, ...]
    files: tuple[Path, ...] = field(repr=False)
    heads: tuple[str, ...] = ()

    @property
    def has_pooler(self) -> bool:
        """Return whether it has the layer on the first token."""
        return "pooler" not in self.absent

    def entries(self) -> list[Entry]:
        """Return the tensors of its family, heads that were asked for included."""
        return self.architecture.names.entries(self.shape.num_layers, heads=self.heads)

    @cached_property
    def hashes(self) -> dict[str, str]:
        """Return file name -> sha256; reads every byte once."""
        return hash_files(self.folder, self.files)

    @property
    def sha256(self) -> str:
        """Return one hash for the whole checkpoint: config, vocabulary and weights."""
        return combine_hashes(self.hashes)

    def require_vocab(self) -> Path:
        """Return the vocabulary.

        Raises:
            CheckpointError: the checkpoint came without one; another would give its rows other meanings.
        """
        if self.vocab is None:
            raise no_vocab(self.folder)
        return self.vocab


def no_vocab(folder: Path) -> CheckpointError:
    """Return the error for a checkpoint without a vocabulary."""
    return CheckpointError(
        "the checkpoint has no vocab.txt",
        where=str(folder),
        next_step="put its vocab.txt into the folder, or name one with --set model.vocab=FILE",
    )
