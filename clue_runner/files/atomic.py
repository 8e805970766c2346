"""Files that are whole or absent: atomic writes, fsync, and disk faults as one error.

In: paths and bytes. Out: files. A reader never sees half a file, and a kill at any moment leaves the
old content. Knows nothing about runs, checkpoints or tensors.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from clue_runner.errors import StorageError

TEMPORARY = ".tmp-"  # leftovers of killed writers start with this; swept when a run starts

_ADVICE = {
    errno.ENOSPC: "free some space or take another disk with --output; then run the same command again",
    errno.EDQUOT: "the quota is used up: free some space; then run the same command again",
    errno.EACCES: "take a folder that you may write with --output",
    errno.EPERM: "take a folder that you may write with --output",
    errno.EROFS: "the disk is read-only: take another one with --output",
    errno.ENOTDIR: "a part of the path is a file: take another folder with --output",
    errno.EEXIST: "a file stands where a folder should be: take another folder with --output",
}


def storage_error(error: OSError, path: Path) -> StorageError:
    """Return the user's message for a failed disk operation at ``path``."""
    reason = error.strerror or str(error)
    next_step = _ADVICE.get(
        error.errno or 0, "check the disk and its permissions; then run the same command again"
    )
    return StorageError(f"cannot write: {reason}", where=str(path), next_step=next_step)


@contextmanager
def disk_faults(path: Path) -> Iterator[None]:
    """Turn every ``OSError`` inside into a ``StorageError`` that names ``path``."""
    try:
        yield
    except OSError as error:
        raise storage_error(error, path) from error


def make_folder(path: Path) -> None:
    """Create a folder and its parents.

    Raises:
        StorageError: it cannot be made.
    """
    with disk_faults(path):
        path.mkdir(parents=True, exist_ok=True)


def probe_folder(path: Path) -> None:
    """Create a folder where needed and prove that a file can be written there, before hours are spent.

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
    with disk_faults(path):
        # Beside the target, never in $TMPDIR: a rename across disks is a copy.
        descriptor, name = tempfile.mkstemp(prefix=TEMPORARY, dir=path.parent)
        temporary = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.chmod(0o666 & ~_umask())
            temporary.replace(path)
        except BaseException:
            with suppress(OSError):
                temporary.unlink()
            raise
        sync_folder(path.parent)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Replace a JSON file in one move: UTF-8, indented, ends with a newline, no NaN."""
    text = json.dumps(content, ensure_ascii=False, indent=2, allow_nan=False)
    write_atomic(path, f"{text}\n".encode())


def remove(path: Path) -> None:
    """Remove a file if it is there."""
    with disk_faults(path):
        path.unlink(missing_ok=True)


def sha256_file(path: Path) -> str:
    """Return the hex digest of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _umask() -> int:
    """Return the process's umask; mkstemp makes private files, results are for everyone."""
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
