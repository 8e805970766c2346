"""Weights that one of our runs saved, as a checkpoint that another run can start from.

In: a saved state's folder (weights.safetensors with a header, vocab.txt, perhaps ema.safetensors). Out: what
the header says, and names, shapes and values under our own names; averaged weights where the run kept them,
since those were scored. Each file is read once, and must be the one that the state's manifest lists.
Knows nothing about other layouts or about what else lies in the folder.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from clue_runner.architectures.settings import from_header
from clue_runner.checkpoints.files import digest_of, require_file
from clue_runner.errors import CheckpointError
from clue_runner.files.reading import DamagedFileError, parse_object, read_file
from clue_runner.files.tensors import NativeReader, read_safetensors
from clue_runner.runs.states import STATE_FILE, ListedFile, listed_files

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
        self._folder, self._listed = folder, _listed(folder)
        kept = averaged.exists() if self._listed is None else AVERAGED in self._listed
        self.saved = from_header(weights.meta, str(folder / WEIGHTS))
        self._prefix = AVERAGED_PREFIX if kept else ""
        self._reader = NativeReader(averaged) if kept else weights
        # The header is part of what decides the result, so both files count.
        self.files: tuple[Path, ...] = tuple(dict.fromkeys((*weights.files, *self._reader.files)))
        self._kept: dict[str, NDArray[Any]] = {}
        self._digests: dict[Path, str] = {}

    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Return name -> shape of every tensor stored."""
        return {name.removeprefix(self._prefix): shape for name, shape in self._reader.shapes().items()}

    def types(self) -> Mapping[str, str]:
        """Return name -> type of every tensor stored: a run saves float32."""
        return dict.fromkeys(self.shapes(), "float32")

    def read(self, name: str) -> NDArray[Any]:
        """Return one tensor's values.

        Raises:
            CheckpointError: the file is not the one that the manifest lists.
        """
        self.digests()
        stored = self._prefix + name
        return self._kept.pop(stored) if stored in self._kept else self._reader.read(stored)

    def digests(self) -> Mapping[Path, str]:
        """Return the sha256 of each of its files; the values are read with it and kept for ``read``.

        Raises:
            CheckpointError: a file is not the one that the manifest lists.
        """
        if self._digests:
            return self._digests
        found = {path: digest_of(path) for path in self.files if path not in self._reader.files}
        for path in self._reader.files:
            file = read_safetensors(path)
            found[path], self._kept = file.sha256, dict(file.tensors)
        for path, digest in found.items():
            listed = (self._listed or {}).get(path.name)
            if listed is not None and listed.sha256 != digest:
                self._kept.clear()
                raise _damaged(self._folder, f"{path.name} is not the file listed in its manifest")
        self._digests = found
        return found

    @property
    def ids_sha256(self) -> str | None:
        """Return the hash of all that made the ids of the run's texts; None: the state does not say it.

        Raises:
            CheckpointError: the state is damaged.
        """
        if not (self._folder / STATE_FILE).exists():
            return None
        try:
            raw = read_file(self._folder / STATE_FILE)
            identity = parse_object(raw).get("identity")
        except DamagedFileError as error:
            raise _damaged(self._folder, f"{STATE_FILE}: {error}") from error
        listed = (self._listed or {}).get(STATE_FILE)
        if listed is not None and listed.sha256 != hashlib.sha256(raw).hexdigest():
            raise _damaged(self._folder, f"{STATE_FILE} is not the file that its manifest lists")
        found = identity.get("vocabulary") if isinstance(identity, dict) else None
        return found if isinstance(found, str) else None

    def release(self) -> None:
        """Release the values kept."""
        self._kept.clear()


def _listed(folder: Path) -> Mapping[str, ListedFile] | None:
    """Return what a state's manifest lists; a file that it does not name is not part of the state."""
    try:
        return listed_files(folder)
    except DamagedFileError as error:
        raise _damaged(folder, str(error)) from error


def _damaged(folder: Path, reason: str) -> CheckpointError:
    return CheckpointError(
        f"the saved state is damaged: {reason}",
        where=str(folder),
        next_step="restore a backup, or train it again",
    )
