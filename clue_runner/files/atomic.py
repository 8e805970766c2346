"""Files that are complete or absent: atomic writes, fsync, and disk faults as one error.

In: paths and bytes. Out: files. A reader never sees half a file, and a kill at any moment leaves the
old content. Knows nothing about runs, checkpoints or tensors.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from clue_runner.errors import StorageError

TEMPORARY = ".tmp-"  # leftovers of killed writers start with this; swept when a run starts

_ADVICE = {
    errno.ENOSPC: "free some space or use another disk with --output; then run the same command again",
    errno.EDQUOT: "the quota is used up: free some space; then run the same command again",
    errno.EACCES: "choose a writable folder with --output",
    errno.EPERM: "choose a writable folder with --output",
    errno.EROFS: "the disk is read-only: use another one with --output",
    errno.ENOTDIR: "a part of the path is a file: use another folder with --output",
    errno.ENAMETOOLONG: "choose a shorter name with --output",
    errno.EEXIST: "a file is in the way of a folder: name another folder with --output",
}


def storage_error(error: OSError, path: Path, needed: int | None = None) -> StorageError:
    """Return the user's message for a failed disk operation at ``path``.

    Args:
        error: what the system said.
        path: where.
        needed: bytes that were to be written, where that is known.
    """
    reason = error.strerror or str(error)
    next_step = _ADVICE.get(
        error.errno or 0, "check the disk and its permissions; then run the same command again"
    )
    received = None if needed is None else room(error, path, needed)
    return StorageError(f"cannot write: {reason}", where=str(path), received=received, next_step=next_step)


def room(error: OSError, path: Path, needed: int) -> str:
    """Return how many bytes were to be written and, of a full disk, how many are free."""
    text = f"{needed:,} bytes to write"
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        with suppress(OSError):
            text += f", {shutil.disk_usage(path.parent).free:,} free on the disk"
    return text


@contextmanager
def disk_faults(path: Path, needed: int | None = None) -> Iterator[None]:
    """Turn every ``OSError`` inside into a ``StorageError`` that names ``path``; so too what is no path.

    ``needed`` is how many bytes were to be written, where that is known.
    """
    try:
        yield
    except OSError as error:
        raise storage_error(error, path, needed) from error
    except ValueError as error:
        if not isinstance(error, UnicodeEncodeError) and "null byte" not in str(error):
            raise
        raise StorageError(
            f"cannot write: not a path ({error})",
            where=ascii(str(path))[1:-1][:200],
            next_step="use another folder with --output",
        ) from error


def make_folder(path: Path) -> None:
    """Create a folder and its parents.

    Raises:
        StorageError: it cannot be made.
    """
    with disk_faults(path):
        path.mkdir(parents=True, exist_ok=True)


def probe_folder(path: Path) -> None:
    """Create a folder if needed and verify that a file can be written there, before hours are spent.

    Raises:
        StorageError: it cannot.
    """
    make_folder(path)
    probe = path / f"{TEMPORARY}probe-{os.getpid()}"
    with disk_faults(path):
        write_synced(probe, b"probe")
        probe.unlink()


def write_synced(path: Path, data: bytes) -> None:
    """Write bytes and wait until the disk has them."""
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(path: Path) -> None:
    """Wait until the disk has a folder's entries."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_atomic(path: Path, data: bytes) -> None:
    """Replace a file in one move; a kill at any moment leaves the old or the new content.

    Raises:
        StorageError: the disk refused; the old content is still there.
    """
    with disk_faults(path, len(data)), temporary_beside(path) as (descriptor, temporary):
        with open(descriptor, "wb", closefd=False) as file:
            file.write(data)
            file.flush()
            os.fsync(descriptor)
        temporary.replace(path)
        sync_folder(path.parent)


@contextmanager
def temporary_beside(path: Path) -> Iterator[tuple[int, Path]]:
    """Yield a new open file in the folder of ``path``, with the user's usual permissions.

    It is closed at the end, and removed where it still exists.
    """
    # Beside the target, never in $TMPDIR: a rename across disks is a copy. Not by mkstemp, whose files are
    # private: the umask cannot be asked for without changing it for all threads.
    temporary = path.parent / f"{TEMPORARY}{secrets.token_hex(8)}"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        yield descriptor, temporary
    finally:
        os.close(descriptor)
        with suppress(OSError):
            temporary.unlink()


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Replace a JSON file in one move: UTF-8, indented, ends with a newline, no NaN."""
    write_atomic(path, json_bytes(content, indent=2))


def json_bytes(content: Mapping[str, Any], *, indent: int | None = None) -> bytes:
    """Return JSON text in UTF-8 that ends with a newline.

    Names of files and variables can hold bytes that are no UTF-8: as escapes they come back as they were.
    """
    text = json.dumps(content, ensure_ascii=False, indent=indent, allow_nan=False)
    return f"{text}\n".encode("utf-8", "backslashreplace")


def remove(path: Path) -> None:
    """Remove a file if it is there."""
    with disk_faults(path):
        path.unlink(missing_ok=True)


def sha256_file(path: Path) -> str:
    """Return the hex digest of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
