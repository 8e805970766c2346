"""What every layout needs from a checkpoint folder: a reader protocol, checks of files, one identity.

In: paths. Out: parsed JSON, hashes, or why a file does not match its name.
Knows nothing about layouts, tensor names or libraries.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray

from clue_runner.errors import CheckpointError
from clue_runner.files.names import open_regular
from clue_runner.files.reading import DamagedFileError, parse_object, read_file

MAX_JSON_BYTES = 16 * 2**20  # the index of a sharded model of thousands of tensors stays far below
AGAIN = "copy or download the checkpoint again"
PART = 2**20  # bytes read at a time
_BOM = b"\xef\xbb\xbf"
_LFS = "fetch the file itself: git lfs pull in that folder, or download it from its publisher's page"
_PAGE = "the server sent a page (a login, a limit, an error) instead: download the file again"
# What is often saved in place of the file itself: how it begins, what it is, what to do.
STAND_INS: tuple[tuple[bytes, str, str], ...] = (
    (b"version https://git-lfs.github.com/spec/", "a git-lfs pointer", _LFS),
    (b"<!doctype html", "a web page", _PAGE),
    (b"<html", "a web page", _PAGE),
    (b"<?xml", "an XML page", _PAGE),
    (b'{"error"', "an error message of a server", _PAGE),
    (b"entry not found", "an error message of a server", _PAGE),
    (b"access to model", "an error message of a server", _PAGE),
    (b"invalid username", "an error message of a server", _PAGE),
    (b"repository not found", "an error message of a server", _PAGE),
)
# Formats that a file of another name may have.
OTHER_FORMATS: tuple[tuple[bytes, str], ...] = (
    (b"PK\x03\x04", "a ZIP archive, as torch.save writes them"),
    (b"\x80\x02", "a pickle"),
    (b"\x80\x04", "a pickle"),
    (b"\x89HDF\r\n", "an HDF5 file, as Keras writes them"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"BZh", "a bzip2 archive"),
    (b"\xfd7zXZ", "an xz archive"),
)


class TensorReader(Protocol):
    """A checkpoint whose names, shapes and types are known and whose values are read one at a time."""

    files: tuple[Path, ...]

    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Return name -> shape of every tensor stored."""

    def types(self) -> Mapping[str, str]:
        """Return name -> type of every tensor stored, as numpy calls it where numpy has it."""

    def read(self, name: str) -> NDArray[Any]:
        """Return one tensor's values as stored."""

    def digests(self) -> Mapping[Path, str]:
        """Return the sha256 of each of its files; what was read for it may be kept for ``read``."""

    def release(self) -> None:
        """Release the values kept."""


def require_file(path: Path) -> None:
    """Refuse what is not a regular file, or is plainly in another format than its name says.

    Raises:
        CheckpointError: missing, a folder, a pipe, a git-lfs pointer, a web page, an archive or a pickle.
        StorageError: it cannot be read now.
    """
    with open_regular(path, error_type=CheckpointError) as stream:
        head = stream.read(512)
    refuse_stand_in(path, head)
    for mark, what in OTHER_FORMATS:
        if head.startswith(mark):
            raise CheckpointError(
                "the file's content does not match its name",
                where=str(path),
                received=what,
                next_step="unpack an archive; convert other formats with the program that wrote them",
            )


def refuse_stand_in(path: Path, head: bytes) -> None:
    """Refuse a pointer or a page in place of a file.

    Raises:
        CheckpointError: ``head``, the beginning of the file, is that of one.
    """
    start = head.removeprefix(_BOM).lstrip().lower()
    for mark, what, next_step in STAND_INS:
        if start.startswith(mark):
            raise CheckpointError(
                "the file was not downloaded", where=str(path), received=what, next_step=next_step
            )


def read_json(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file.

    Raises:
        CheckpointError: it is missing, too large, no file, not UTF-8, not JSON or not an object.
        StorageError: it cannot be read now.
    """
    try:
        raw = read_file(path, MAX_JSON_BYTES)
        refuse_stand_in(path, raw[:512])
        return parse_object(raw.removeprefix(_BOM))
    except FileNotFoundError:
        raise CheckpointError("no such file", where=str(path), next_step=AGAIN) from None
    except DamagedFileError as error:
        raise CheckpointError(f"the file {error}", where=str(path), next_step=AGAIN) from error


def stamps(files: tuple[Path, ...]) -> dict[Path, tuple[int, ...]]:
    """Return what changes when a file is written or replaced."""
    found: dict[Path, tuple[int, ...]] = {}
    for path in files:
        status = path.stat()
        found[path] = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
    return found


def digest_of(path: Path) -> str:
    """Return the sha256 of a file's bytes.

    Raises:
        CheckpointError: it is missing or is not a file.
        StorageError: it cannot be read now.
    """
    digest = hashlib.sha256()
    with open_regular(path, error_type=CheckpointError) as file:
        while part := file.read(PART):
            digest.update(part)
    return digest.hexdigest()


def combine_hashes(hashes: Mapping[str, str]) -> str:
    """Return one sha256 for several named files."""
    lines = "".join(f"{digest}  {name}\n" for name, digest in sorted(hashes.items()))
    return hashlib.sha256(lines.encode("utf-8", "surrogateescape")).hexdigest()
