"""Our own weight files: one safetensors file with stable names, written whole or not at all.

In: a state (name -> numpy array, bfloat16 included) and a small JSON header. Out: a file whose bytes
depend on nothing else; and back. Holds numbers only, so a file from a stranger cannot run code.
Knows nothing about networks, run folders or other layouts.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from clue_runner.errors import CheckpointError, Problem, RefusedFileError, StorageError

State = dict[str, NDArray[Any]]

FORMAT = 1
_HEADER = "clue_runner"  # one key: the order of several keys is not fixed by the library


def save_weights(
    path: Path, state: Mapping[str, NDArray[Any]], meta: Mapping[str, Any] | None = None
) -> None:
    """Write ``state`` to ``path``: temporary file beside it, fsync, rename, fsync of the folder.

    Args:
        path: the target; an existing file is replaced in one move.
        state: arrays by name; equal states give equal bytes.
        meta: what JSON can hold; returned by ``load_weights``.

    Raises:
        StorageError: the disk refused; an existing file is untouched.
    """
    header = {"format": FORMAT, "meta": dict(meta or {})}
    metadata = {_HEADER: json.dumps(header, ensure_ascii=False, sort_keys=True, allow_nan=False)}
    # The library writes the memory behind an array as it lies: a transposed view would be written wrong.
    # (ascontiguousarray makes a scalar an array of one, hence asarray.)
    arrays = {name: np.asarray(value, order="C") for name, value in sorted(state.items())}
    try:
        with _temporary_beside(path) as temporary:
            save_file(arrays, temporary, metadata=metadata)
            _sync(temporary)
            temporary.chmod(0o644)  # the library makes private files
            temporary.replace(path)
        _sync(path.parent)
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise StorageError(
            f"weights cannot be written: {reason}",
            where=str(path),
            received=f"{sum(array.nbytes for array in arrays.values())} bytes to write",
            next_step="free some space, or choose another folder with --output",
        ) from error


def load_weights(
    path: Path, expected: Mapping[str, tuple[int, ...]] | None = None
) -> tuple[State, dict[str, Any]]:
    """Return the state and the header of a file that ``save_weights`` wrote.

    Args:
        path: the file.
        expected: name -> shape that the state must have, no more and no less; None: anything.

    Raises:
        CheckpointError: missing, of another program, or not the expected tensors.
        RefusedFileError: malformed.
    """
    with open_safetensors(path) as file:
        header = _parse_header(path, file.metadata())
        shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
        if expected is not None:
            _check(path, shapes, expected)
        return {name: file.get_tensor(name) for name in sorted(shapes)}, header


class NativeReader:
    """One weight file of ours, read a tensor at a time; ``meta`` is what ``save_weights`` was given."""

    def __init__(self, path: Path) -> None:
        """Read the header."""
        self.files: tuple[Path, ...] = (path,)
        self._path = path
        with open_safetensors(path) as file:
            self.meta = _parse_header(path, file.metadata())
            self._shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118

    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Return name -> shape of every tensor stored."""
        return self._shapes

    def read(self, name: str) -> NDArray[Any]:
        """Return one tensor's values."""
        with open_safetensors(self._path) as file:
            value: NDArray[Any] = file.get_tensor(name)
        return value


@contextmanager
def open_safetensors(path: Path) -> Iterator[Any]:
    """Open a safetensors file of any origin; its limits (header size, offsets, overlaps) are the library's.

    Raises:
        CheckpointError: the file is missing or cannot be read.
        RefusedFileError: it is malformed.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            yield file
    except SafetensorError as error:
        raise RefusedFileError(
            f"malformed safetensors file: {error}",
            where=str(path),
            next_step="cut short or tampered with: download it again from its publisher",
        ) from error
    except OSError as error:
        raise CheckpointError(
            f"file cannot be read: {error.strerror or error}", where=str(path), next_step="check the path"
        ) from error


@contextmanager
def _temporary_beside(path: Path) -> Iterator[Path]:
    """Give a new file in the folder of ``path``; it is removed where it still exists at the end."""
    # Never in $TMPDIR: a rename across disks is a copy. The prefix is the one that a starting run sweeps.
    descriptor, name = tempfile.mkstemp(prefix=".tmp-", dir=path.parent)
    os.close(descriptor)
    temporary = Path(name)
    try:
        yield temporary
    finally:
        with suppress(OSError):
            temporary.unlink()


def _parse_header(path: Path, metadata: Mapping[str, str] | None) -> dict[str, Any]:
    """Return what ``save_weights`` was given as ``meta``."""
    try:
        header = json.loads((metadata or {})[_HEADER])
        if header["format"] != FORMAT:
            raise CheckpointError(
                "weights of another version of this program",
                where=str(path),
                received=f"format {header['format']}",
                allowed=f"format {FORMAT}",
                next_step="read them with the version that wrote them",
            )
        meta = header["meta"]
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise CheckpointError(
            "not a weight file of this program",
            where=str(path),
            next_step="name a folder with clue train --model",
        ) from error
    if not isinstance(meta, dict):
        raise CheckpointError("the header is not an object", where=str(path))
    return meta


def _check(path: Path, found: Mapping[str, tuple[int, ...]], expected: Mapping[str, tuple[int, ...]]) -> None:
    """Compare names and shapes, all differences at once."""
    problems = [Problem("missing tensor", name) for name in expected if name not in found]
    problems += [Problem("unexpected tensor", name) for name in found if name not in expected]
    problems += [
        Problem("wrong shape", name, str(list(found[name])), str(list(shape)))
        for name, shape in expected.items()
        if name in found and found[name] != tuple(shape)
    ]
    if problems:
        raise CheckpointError(
            "weights do not fit the model",
            where=str(path),
            problems=problems,
            next_step="use the settings that the weights were trained with",
        )


def _sync(path: Path) -> None:
    """Wait until the disk has a file, or a folder's entries."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
