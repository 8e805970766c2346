"""Weights that one of our runs saved, as a checkpoint that another run can begin from.

In: a saved state's folder (weights.safetensors with a header, vocab.txt, perhaps ema.safetensors). Out: what
the header says, and names, shapes and values under our own names; averaged weights where the run kept them,
since those were scored. Knows nothing about other layouts or about what else lies in the folder.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from clue_runner.architectures.settings import from_header
from clue_runner.checkpoints.files import digest_of, require_file
from clue_runner.errors import CheckpointError
from clue_runner.files.reading import DamagedFileError
from clue_runner.files.tensors import NativeReader
from clue_runner.runs.states import listed_names

WEIGHTS = "weights.safetensors"
AVERAGED = "ema.safetensors"
AVERAGED_PREFIX = "ema/"


class RunReader:
    """The weights of one saved state, its head included.

    Raises:
        CheckpointError: the header does not say which model they belong to.
        RefusedFileError: a malformed file.
    """

    def __init__(self, folder: Path) -> None:
        """Read the headers."""
        require_file(folder / WEIGHTS)
        weights, averaged = NativeReader(folder / WEIGHTS), folder / AVERAGED
        kept = _has_average(folder)
        self.saved = from_header(weights.meta, str(folder / WEIGHTS))
        self._prefix = AVERAGED_PREFIX if kept else ""
        self._reader = NativeReader(averaged) if kept else weights
        # The header is part of what decides the result, so both files count.
        self.files: tuple[Path, ...] = tuple(dict.fromkeys((*weights.files, *self._reader.files)))

    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Return name -> shape of every tensor stored."""
        return {name.removeprefix(self._prefix): shape for name, shape in self._reader.shapes().items()}

    def types(self) -> Mapping[str, str]:
        """Return name -> type of every tensor stored: a run saves float32."""
        return dict.fromkeys(self.shapes(), "float32")

    def read(self, name: str) -> NDArray[Any]:
        """Return one tensor's values."""
        return self._reader.read(self._prefix + name)

    def digests(self) -> Mapping[Path, str]:
        """Return the sha256 of each of its files."""
        return {path: digest_of(path) for path in self.files}

    def release(self) -> None:
        """Let go of nothing: no value is kept."""


def _has_average(folder: Path) -> bool:
    """Return whether averaged weights belong to the state: a file that its manifest does not list is none."""
    try:
        listed = listed_names(folder)
    except DamagedFileError as error:
        raise CheckpointError(
            f"the saved state is damaged: {error}",
            where=str(folder),
            next_step="put a copy of it back where there is one, or train it again",
        ) from error
    return (folder / AVERAGED).exists() if listed is None else AVERAGED in listed
