"""An opened checkpoint: its description, the use of each tensor, and its values on demand.

In: a reader and the plan that accounts for its tensors. Out: float32 arrays by our names.
Knows nothing about layouts or folders; ``importer`` makes these.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import ml_dtypes  # noqa: F401  (gives numpy the type bfloat16)
import numpy as np
from numpy.typing import NDArray

from clue_runner.architectures.base import Architecture, BaseShape
from clue_runner.architectures.name_table import Entry, Layout
from clue_runner.checkpoints.files import TensorReader, combine_hashes, digest_of, stamps
from clue_runner.checkpoints.plan import Source, TensorUse
from clue_runner.checkpoints.vocabularies import no_vocab
from clue_runner.errors import CheckpointError, Problem
from clue_runner.files.names import absolute_path

# Stored types that become float32 without losing a bit.
EXACT = ("float32", "float16", "bfloat16")


class Weights(Mapping[str, NDArray[np.float32]]):
    """Our names -> float32 arrays in our layout; a value is read from disk on each access."""

    def __init__(self, reader: TensorReader, sources: Mapping[str, Source], folder: Path) -> None:
        """Keep where each tensor comes from."""
        self._reader = reader
        self._sources = sources
        self._folder = folder

    def __getitem__(self, name: str) -> NDArray[np.float32]:
        """Read one tensor.

        Raises:
            CheckpointError: float32 cannot represent its type exactly, or not all values are finite.
        """
        return self.typed(name, np.float32)

    def typed(self, name: str, kind: Any) -> NDArray[Any]:
        """Return one tensor in our layout and in a type; stored in that type, its values are unchanged.

        Raises:
            CheckpointError: as ``__getitem__``.
        """
        return np.ascontiguousarray(self.exact(name), dtype=kind)

    def exact(self, name: str) -> NDArray[Any]:
        """Return one tensor in our layout and in the type that it is stored in.

        Raises:
            CheckpointError: as ``__getitem__``.
        """
        source = self._sources[name]
        stored = self.stored(source.name)
        finite = np.isfinite(stored)
        if not finite.all():
            raise CheckpointError(
                f"tensor {source.name} contains NaN or infinity",
                where=str(self._folder),
                received=f"{int((~finite).sum())} of {stored.size} values",
                next_step="the file is damaged or its training diverged: use another checkpoint",
            )
        return stored.T if source.transposed else stored

    def stored(self, name: str) -> NDArray[Any]:
        """Return one tensor as it is stored, by the checkpoint's own name.

        Raises:
            CheckpointError: float32 cannot represent its type exactly.
        """
        stored = self._reader.read(name)
        if stored.dtype.name not in EXACT:
            raise wrong_types(self._folder, {name: stored.dtype.name})
        return stored

    def digests(self) -> Mapping[Path, str]:
        """Return the sha256 of each file that holds weights."""
        return self._reader.digests()

    def release(self) -> None:
        """Release values that were read for the hash and are not needed."""
        self._reader.release()

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
        vocab_size: rows of the token embeddings.
        vocab: its vocab.txt; None where it has none.
        lowercase: whether its texts are lower-cased.
        weights: our names -> float32 arrays, read lazily.
        report: the use of each tensor.
        absent: groups of the family's table that it lacks as a whole. Without a pooler ``pooled`` is None,
            and a run with ``pooling: pooler`` trains a new one.
        notices: messages for the user.
        files: every file that decides the result.
        heads: pre-training heads that were asked for.
        ids_sha256: of all that made the ids of its texts, where it is known; word vectors included.
        pinned: file -> sha256 that it must have, for models from the hub.
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
    ids_sha256: str | None = None
    pinned: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def name(self) -> str:
        """Return the name of its folder, which ``.`` does not say."""
        return absolute_path(self.folder).name

    @property
    def has_pooler(self) -> bool:
        """Return whether it has the layer on the first token."""
        return "pooler" not in self.absent

    def entries(self) -> list[Entry]:
        """Return the tensors of its family, heads that were asked for included."""
        return self.architecture.names.entries(self.shape.num_layers, heads=self.heads)

    @cached_property
    def _hashed(self) -> tuple[dict[str, str], dict[Path, tuple[int, ...]]]:
        """Return the hashes, and the stamps that show whether a file was written since."""
        before = stamps(self.files)
        digests = self.weights.digests()
        found = {}
        for path in sorted(self.files):
            name = path.relative_to(self.folder) if path.is_relative_to(self.folder) else Path(path.name)
            found[name.as_posix()] = digests.get(path) or digest_of(path)
        self._require_pinned(found)
        return found, before

    def _require_pinned(self, found: Mapping[str, str]) -> None:
        """Refuse files that are not those that were pinned when the model was first fetched."""
        problems = [
            Problem("this is not the pinned file", name, f"sha256 {found[name]}", f"sha256 {digest}")
            for name, digest in self.pinned.items()
            if found.get(name, digest) != digest
        ]
        if problems:
            raise CheckpointError(
                "the files have changed since they were first downloaded from the hub",
                where=str(self.folder),
                problems=problems,
                next_step="delete that folder and run the same command again to download them anew",
            )

    @property
    def hashes(self) -> dict[str, str]:
        """Return file name -> sha256, computed when it is first asked for.

        A run asks before it knows whether it needs the weights; ``require_unchanged`` makes sure that what is
        loaded later is what was hashed.
        """
        return self._hashed[0]

    @property
    def sha256(self) -> str:
        """Return one hash for the whole checkpoint: config, vocabulary and weights."""
        return combine_hashes(self.hashes)

    def require_unchanged(self) -> None:
        """Refuse to continue if a file was written since it was hashed; without hashes nothing is checked.

        Raises:
            CheckpointError: it was.
        """
        if "_hashed" not in vars(self) and not self.pinned:
            return
        now, before = stamps(self.files), self._hashed[1]
        changed = [path for path in self.files if now[path] != before[path]]
        if changed:
            raise CheckpointError(
                "the checkpoint changed while it was being read",
                where=", ".join(map(str, changed)),
                next_step="wait until it is complete, then run the same command again",
            )

    def require_vocab(self) -> Path:
        """Return the vocabulary.

        Raises:
            CheckpointError: there is none; another one would give its rows other meanings.
        """
        if self.vocab is None:
            raise no_vocab(self.folder)
        return self.vocab


def wrong_types(folder: Path, types: Mapping[str, str]) -> CheckpointError:
    """Return the error for tensors of types that float32 does not hold exactly."""
    return CheckpointError(
        f"{len(types)} tensor{'s have' if len(types) > 1 else ' has'} a type that is not supported",
        where=str(folder),
        problems=[Problem("type", name, kind, ", ".join(EXACT)) for name, kind in types.items()],
        next_step="convert the checkpoint to float32",
    )
