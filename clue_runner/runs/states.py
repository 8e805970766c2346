"""One saved state of a run: ``checkpoints/step-<n>/``, a folder that must match its manifest.

In: a folder. Out: the loop's state as types, and tensors whose bytes were compared with the manifest while
they were read. A file that the manifest does not list is not part of the state and is never opened.
Knows nothing about networks, or about which state a run continues from.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BufferedReader
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field, ValidationError

from clue_runner.errors import CheckpointError, RefusedFileError
from clue_runner.files.reading import (
    DamagedFileError,
    exists,
    open_file,
    parse_object,
    read_file,
    read_object,
)
from clue_runner.files.tensors import State, read_weights
from clue_runner.runs.identity import Identity
from clue_runner.runs.progress import Progress
from clue_runner.runs.results import Part, describe

MANIFEST_SCHEMA = 1
SCHEMA = 2  # 1: dropout masks were drawn with other keys, so such a run cannot continue here
MANIFEST = "manifest.json"
STATE_FILE = "state.json"
WEIGHTS_FILE = "weights.safetensors"
VOCABULARY = "vocab.txt"
PREFIX = "step-"
CORRUPT = "corrupt-"
TENSORS = ".safetensors"
ANEW = "train again with --fresh (the old folder is kept), or use another folder with --output"


class SavedState(Part):
    """The content of ``state.json``.

    Args:
        progress: that of the loop.
        identity: what the weights depend on; in states of schema 1 only data and vocabulary.
        config_sha256: hash of the settings.
        buckets: lengths that batches are padded to; None: each batch to its longest row.
        machine: what the last bits depend on.
    """

    schema_: Annotated[int, Field(alias="schema")] = SCHEMA
    progress: Annotated[Progress, AfterValidator(copy.deepcopy)]  # the loop keeps changing its own
    identity: Identity
    config_sha256: str | None = None
    buckets: list[int] | None = None
    machine: dict[str, Any] = {}

    def to_json(self) -> dict[str, Any]:
        """Return plain data, as the file holds it; floats survive JSON bit for bit."""
        return self.model_dump(mode="json", by_alias=True)


class ListedFile(Part):
    """What a manifest says about one file."""

    sha256: str
    size: int


@dataclass
class Snapshot:
    """One saved state whose ``state.json`` and file sizes agree with its manifest.

    ``check``, ``load`` or ``tensors`` compares the rest; until then a damaged weight file goes unnoticed.
    """

    folder: Path
    step: int
    state: SavedState
    files: Mapping[str, ListedFile]
    _tensors: State | None = field(default=None, repr=False)

    def check(self) -> None:
        """Compare every listed byte with the manifest.

        Raises:
            DamagedFileError: what is wrong, with the file's name.
            StorageError: a file cannot be read now.
        """
        for name, listed in self.files.items():
            if name != STATE_FILE:
                _compare(name, _hash(self.folder / name, name), listed)

    def load(self) -> None:
        """Read the tensors and compare every listed byte, each file once; ``tensors`` then hands them over.

        Raises:
            DamagedFileError, StorageError: as ``check``.
        """
        for name, listed in self.files.items():
            if name != STATE_FILE and not name.endswith(TENSORS):
                _compare(name, _hash(self.folder / name, name), listed)
        self._tensors = self._read()

    def tensors(self) -> State:
        """Return weights, optimizer and averaged weights by name; what ``load`` has read is handed over once.

        Raises:
            CheckpointError: a file is not the listed one.
            StorageError: it cannot be read now.
        """
        loaded, self._tensors = self._tensors, None
        try:
            return self._read() if loaded is None else loaded
        except DamagedFileError as error:
            raise damaged_state(self.folder, error) from error

    def _read(self) -> State:
        """Read every listed tensor file."""
        tensors: State = {}
        for name, listed in self.files.items():
            if not name.endswith(TENSORS):
                continue
            path = self.folder / name
            try:
                file = read_weights(path)
            except (CheckpointError, RefusedFileError) as error:
                raise DamagedFileError(f"{name}: {error.headline.what}") from None
            _compare(name, file.sha256, listed)
            if (step := file.meta.get("step", self.step)) != self.step:  # older versions did not record it
                raise DamagedFileError(f"{name} belongs to step {step}, not to step {self.step}")
            tensors.update(file.tensors)
        return tensors


def read_snapshot(folder: Path) -> Snapshot:
    """Return a saved state after checking every byte against the manifest.

    Raises:
        DamagedFileError, CheckpointError, StorageError: as ``open_snapshot`` and ``Snapshot.check``.
    """
    snapshot = open_snapshot(folder)
    snapshot.check()
    return snapshot


def open_snapshot(folder: Path) -> Snapshot:
    """Return a saved state after checking its manifest, its ``state.json`` and the size of every file.

    Raises:
        DamagedFileError: what is wrong, with the file's name.
        CheckpointError: a later version wrote it.
        StorageError: it cannot be read now.
    """
    files = _manifest(folder)
    for name in sorted({STATE_FILE, WEIGHTS_FILE} - files.keys()):
        raise DamagedFileError(f"{MANIFEST} does not list {name}")
    for name, listed in files.items():
        with _open(folder / name, name) as file:
            size = file.seek(0, 2)
        if size != listed.size:
            raise DamagedFileError(f"{name} has {size} bytes instead of {listed.size}")
    raw = read_file(folder / STATE_FILE)
    _compare(STATE_FILE, hashlib.sha256(raw).hexdigest(), files[STATE_FILE])
    state = _parse_state(folder, raw)
    name = folder.name.removeprefix(CORRUPT)
    if name != f"{PREFIX}{state.progress.step}":
        raise DamagedFileError(
            f"{STATE_FILE} is of step {state.progress.step}: the folder was renamed from {PREFIX}"
            f"{state.progress.step}"
        )
    return Snapshot(folder, state.progress.step, state, files)


def damaged_state(folder: Path, error: DamagedFileError) -> CheckpointError:
    """Return the user's message for a state that cannot be used."""
    return CheckpointError(
        f"the saved state is damaged: {error}",
        where=str(folder),
        next_step=f"restore a backup, or {ANEW}",
    )


def listed_files(folder: Path) -> Mapping[str, ListedFile] | None:
    """Return file name -> size and sha256 of a state; None for a folder that has no manifest.

    Weights that a user has copied into another folder are complete without one.

    Raises:
        DamagedFileError, StorageError: as ``open_snapshot``.
    """
    return _manifest(folder) if exists(folder / MANIFEST) else None


def _manifest(folder: Path) -> dict[str, ListedFile]:
    """Return file name -> size and sha256."""
    try:
        content = read_object(folder / MANIFEST)
        files = content["files"]
        if content["schema"] != MANIFEST_SCHEMA or not isinstance(files, dict):
            raise DamagedFileError(f"has format {content['schema']!r}, this version reads {MANIFEST_SCHEMA}")
        listed = {name: ListedFile.model_validate(entry) for name, entry in sorted(files.items())}
    except FileNotFoundError:
        raise DamagedFileError(f"{MANIFEST} is missing") from None
    except KeyError as error:
        raise DamagedFileError(f"{MANIFEST} has no {error.args[0]}") from None
    except ValidationError:
        raise DamagedFileError(f"{MANIFEST} has no size and sha256 of a file") from None
    except DamagedFileError as error:
        raise DamagedFileError(f"{MANIFEST} {error}") from None
    for name in listed:
        if name in {"", ".", "..", MANIFEST} or "/" in name or "\0" in name:
            raise DamagedFileError(f"{MANIFEST} lists {name!r}, which is not the name of a file beside it")
    return listed


def _parse_state(folder: Path, raw: bytes) -> SavedState:
    """Return the loop's state."""
    try:
        content = parse_object(raw)
        schema = content.get("schema", 1)
        if type(schema) is int and schema > SCHEMA:
            raise CheckpointError(
                "the saved state is of a later version of clue-runner",
                where=str(folder),
                received=f"schema {schema}",
                allowed=f"up to {SCHEMA}",
                next_step="continue with the version that started the run",
            )
        progress = Progress.from_json(content["progress"])
        if schema == 1:  # the hashes were separate fields
            known = {"data": content.get("data_sha256", {}), "vocabulary": content.get("vocabulary_sha256")}
            content = {"identity": known, **content}
        return SavedState.model_validate({**content, "schema": schema, "progress": progress})
    except KeyError:
        raise DamagedFileError(f"{STATE_FILE} has no progress") from None
    except ValidationError as error:
        raise DamagedFileError(f"{STATE_FILE} cannot be used: {describe(error)}") from None
    except DamagedFileError as error:
        raise DamagedFileError(f"{STATE_FILE} {error}") from None


@contextmanager
def _open(path: Path, name: str) -> Iterator[BufferedReader]:
    """Open a listed file; errors name it."""
    try:
        with open_file(path) as file:
            yield file
    except FileNotFoundError:
        raise DamagedFileError(f"{name} is missing") from None
    except DamagedFileError as error:
        raise DamagedFileError(f"{name} {error}") from None


def _hash(path: Path, name: str) -> str:
    """Return the hex digest of a listed file's bytes."""
    with _open(path, name) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _compare(name: str, sha256: str, listed: ListedFile) -> None:
    """Refuse a file whose content is not the listed one."""
    if sha256 != listed.sha256:
        raise DamagedFileError(f"{name} does not have the content that was saved (sha256)")
