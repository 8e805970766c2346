"""Our own weight files: one safetensors file with stable names, written completely or not at all.

In: a state (name -> numpy array, bfloat16 included) and a small JSON header. Out: a file whose bytes
depend on nothing else; and back. Holds numbers only, so an untrusted file cannot execute code.
Knows nothing about networks, run folders or other layouts.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import ml_dtypes
import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from clue_runner.errors import CheckpointError, RefusedFileError, StorageError
from clue_runner.files.atomic import room, sync_folder, temporary_beside
from clue_runner.files.names import open_regular
from clue_runner.files.reading import DamagedFileError, check_regular, open_file, unreadable

State = dict[str, NDArray[Any]]

FORMAT = 1
MOST_HEADER = 16 * 2**20  # bytes; a model of 800 tensors has 100,000
DTYPES: Mapping[str, Any] = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": ml_dtypes.bfloat16,
    "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "<i1",
    "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "<u1", "BOOL": "?",
}  # fmt: skip
_HEADER = "clue_runner"  # one key: the order of several keys is not fixed by the library


def save_weights(
    path: Path, state: Mapping[str, NDArray[Any]], meta: Mapping[str, Any] | None = None
) -> None:
    """Write ``state`` to ``path``: temporary file beside it, fsync, rename, fsync of the folder.

    Args:
        path: the target; an existing file is replaced in one move.
        state: arrays by name; equal states give equal bytes.
        meta: a JSON value; returned by ``read_weights``.

    Raises:
        StorageError: the disk refused; an existing file is untouched.
    """
    header = {"format": FORMAT, "meta": dict(meta or {})}
    metadata = {_HEADER: json.dumps(header, ensure_ascii=False, sort_keys=True, allow_nan=False)}
    # The library writes an array's memory in storage order: a transposed view would be written wrong.
    # (ascontiguousarray makes a scalar an array of one, hence asarray.)
    arrays = {name: np.asarray(value, order="C") for name, value in sorted(state.items())}
    try:
        with temporary_beside(path) as (descriptor, temporary):
            save_file(arrays, temporary, metadata=metadata)
            sync_folder(temporary)
            # The library replaces our file with a private one of its own.
            temporary.chmod(stat.S_IMODE(os.fstat(descriptor).st_mode))
            temporary.replace(path)
        sync_folder(path.parent)
    except (OSError, SafetensorError) as error:
        needed = sum(array.nbytes for array in arrays.values())
        said = error if isinstance(error, OSError) else OSError(str(error))
        raise StorageError(
            f"the weights cannot be written: {said.strerror or said}",
            where=str(path),
            received=room(said, path, needed),
            next_step="free some space, or choose another folder with --output",
        ) from error


@dataclass(frozen=True)
class WeightsFile:
    """One file that ``save_weights`` wrote: its state, its header, and the hash of its bytes."""

    tensors: State
    meta: dict[str, Any]
    sha256: str


def read_weights(path: Path) -> WeightsFile:
    """Return everything in a file that ``save_weights`` wrote; its bytes are read once.

    Raises:
        CheckpointError: missing, or from another program.
        RefusedFileError: malformed.
        StorageError: it cannot be read now.
    """
    file = read_safetensors(path)
    return WeightsFile(file.tensors, _parse_header(path, file.metadata), file.sha256)


@dataclass(frozen=True)
class SafetensorsFile:
    """Everything in one safetensors file, and the hash of its bytes."""

    tensors: State
    metadata: Mapping[str, str]
    sha256: str


def read_safetensors(path: Path) -> SafetensorsFile:
    """Return all tensors of a safetensors file of any origin, names sorted; its bytes are read once.

    Raises:
        CheckpointError: missing, not a file, or a type that numpy lacks.
        RefusedFileError: malformed.
        StorageError: it cannot be read now.
    """
    with open_safetensors(path) as checked, open_file(path) as stream:
        digest = hashlib.sha256()
        head = stream.read(8)
        text = stream.read(int.from_bytes(head, "little"))
        digest.update(head + text)
        entries = _entries(text)
        tensors: State = {}
        for name, entry in sorted(entries.items(), key=lambda item: (item[1].start, item[1].size)):
            tensors[name] = value = read_tensor(stream, path, entry)
            digest.update(value.reshape(-1).view(np.uint8).data if value.size else b"")
        if stream.read(1):
            raise _malformed(path, "it grew while it was read")
        metadata = dict(checked.metadata() or {})
        return SafetensorsFile(dict(sorted(tensors.items())), metadata, digest.hexdigest())


class Entry(NamedTuple):
    """One tensor of a header: its type as named in the file, and the position of its bytes."""

    kind: str
    shape: tuple[int, ...]
    start: int
    size: int


def read_entries(path: Path) -> dict[str, Entry]:
    """Return the entries in the header of a safetensors file, which the library has checked.

    Raises:
        CheckpointError: missing, or not a file.
        RefusedFileError: malformed.
        StorageError: it cannot be read now.
    """
    with open_safetensors(path), open_file(path) as stream:
        return _entries(stream.read(int.from_bytes(stream.read(8), "little")))


def _entries(header: bytes) -> dict[str, Entry]:
    """Return the entries of a header in which the library found no overlap, no gap and no wrong size."""
    found, first = {}, 8 + len(header)
    for name, entry in json.loads(header).items():
        if name != "__metadata__":
            start, end = entry["data_offsets"]
            found[name] = Entry(entry["dtype"], tuple(entry["shape"]), first + start, end - start)
    return found


def read_entry(path: Path, entry: Entry) -> NDArray[Any]:
    """Return one tensor of a file: its bytes are read into place, and nothing else of the file.

    Raises:
        CheckpointError: a type that numpy lacks.
        RefusedFileError: the file has become shorter.
        StorageError: it cannot be read now.
    """
    with open_regular(path, error_type=CheckpointError) as stream:
        stream.seek(entry.start)
        return read_tensor(stream, path, entry)


def read_tensor(stream: BinaryIO, path: Path, entry: Entry) -> NDArray[Any]:
    """Return a tensor from a file positioned at its first byte; errors as in ``read_entry``."""
    if entry.kind not in DTYPES:
        raise CheckpointError(
            "a tensor has an unsupported type",
            where=str(path),
            received=entry.kind,
            allowed=", ".join(DTYPES),
        )
    value: NDArray[Any] = np.empty(entry.shape, DTYPES[entry.kind])
    if value.size:
        buffer = value.reshape(-1).view(np.uint8).data
        if stream.readinto(buffer) != len(buffer):  # type: ignore[attr-defined]
            raise _malformed(path, "it was truncated while it was read")
    return value


class NativeReader:
    """One weight file of ours, read a tensor at a time; ``meta`` is what ``save_weights`` was given."""

    def __init__(self, path: Path) -> None:
        """Read the header."""
        self.files: tuple[Path, ...] = (path,)
        self._path = path
        with open_safetensors(path) as file:
            self.meta = _parse_header(path, file.metadata())
        self._entries = read_entries(path)

    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Return name -> shape of every tensor stored."""
        return {name: entry.shape for name, entry in self._entries.items()}

    def read(self, name: str) -> NDArray[Any]:
        """Return one tensor's values."""
        return read_entry(self._path, self._entries[name])


@contextmanager
def open_safetensors(path: Path) -> Iterator[Any]:
    """Open a safetensors file of any origin; its limits (header size, offsets, overlaps) are the library's.

    Raises:
        CheckpointError: the file is missing, or something other than a file.
        RefusedFileError: it is malformed.
        StorageError: it cannot be read now.
    """
    try:
        check_regular(path)
        with path.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
        if MOST_HEADER < length <= path.stat().st_size:  # longer than the file: the library says so
            raise _malformed(path, f"its header has {length:,} bytes, at most {MOST_HEADER:,} are allowed")
        with safe_open(path, framework="numpy") as file:
            yield file
    except SafetensorError as error:
        raise _malformed(path, str(error)) from error
    except FileNotFoundError as error:
        if path.exists():  # the library reports this also when the process has no descriptor left
            raise unreadable(OSError(errno.EMFILE, os.strerror(errno.EMFILE)), path) from error
        raise CheckpointError(
            "file cannot be read: No such file or directory", where=str(path), next_step="check the path"
        ) from error
    except DamagedFileError as error:
        raise CheckpointError(f"the file {error}", where=str(path), next_step="check the path") from error
    except OSError as error:
        raise unreadable(error, path) from error


def _malformed(path: Path, reason: str) -> RefusedFileError:
    """Return the error for a file that breaks the format's rules."""
    return RefusedFileError(
        f"malformed safetensors file: {reason}",
        where=str(path),
        next_step="it is truncated or was tampered with: download it again from its publisher",
    )


def _parse_header(path: Path, metadata: Mapping[str, str] | None) -> dict[str, Any]:
    """Return what ``save_weights`` was given as ``meta``."""
    try:
        header = json.loads((metadata or {})[_HEADER])
        if header["format"] != FORMAT:
            raise CheckpointError(
                "the weights are from another version of this program",
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
