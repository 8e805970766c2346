"""Reads small files completely, and tells damaged ones from those that cannot be read now.

In: a path. Out: its bytes, or the JSON object in it. Only regular files are opened: a folder, a device or a
pipe in place of a file is damage, and is never waited for. Knows nothing about what the content means.
"""

from __future__ import annotations

import errno
import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedIOBase, BufferedReader
from pathlib import Path
from typing import Any

from clue_runner.errors import StorageError
from clue_runner.files.names import KINDS, OPEN_FLAGS

LIMIT = 64 * 1024**2
CHUNK = 1024**2
# Faults of the path itself. Everything else (permission, input/output error, no descriptor left)
# says nothing about the content, and another attempt may find it intact.
_WRONG_PATH = frozenset(
    {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.ENXIO, errno.EINVAL}
)


class DamagedFileError(ValueError):
    """A file that is not what it should be; the text tells how, without naming the file."""


@contextmanager
def open_file(path: Path) -> Iterator[BufferedReader]:
    """Open a regular file for reading; failures inside the block are told apart too.

    Raises:
        FileNotFoundError: there is nothing at the path.
        DamagedFileError: something other than a file.
        StorageError: it cannot be read now; nothing is known about its content.
    """
    try:
        # A pipe without a writer would block an ordinary open forever.
        descriptor = os.open(path, OPEN_FLAGS)
        try:
            mode = os.fstat(descriptor).st_mode
            if not stat.S_ISREG(mode):
                kind = KINDS.get(stat.S_IFMT(mode), "something else")
                raise DamagedFileError(f"is {kind}, not a file")
            with open(descriptor, "rb", closefd=False) as file:
                yield file
        finally:
            os.close(descriptor)
    except OSError as error:
        raise _reading_error(error, path) from error


def exists(path: Path) -> bool:
    """Return whether anything exists at a path, a link that leads nowhere included.

    Raises:
        StorageError: that cannot be told just now.
    """
    try:
        os.lstat(path)
    except (OSError, ValueError) as error:
        if isinstance(error, ValueError) or error.errno in _WRONG_PATH:
            return False  # a name too long, or one with a zero byte, cannot exist
        raise unreadable(error, path) from error
    return True


def check_regular(path: Path) -> None:
    """Open a file and close it again, for a library that would wait for a pipe or misreport the fault.

    Raises:
        FileNotFoundError, DamagedFileError, StorageError: as ``open_file``.
    """
    with open_file(path):
        return


def read_file(path: Path, limit: int = LIMIT) -> bytes:
    """Return the bytes of a regular file.

    Raises:
        FileNotFoundError, DamagedFileError, StorageError: as ``open_file``; a file with more than ``limit``
            bytes is damaged.
    """
    with open_file(path) as file:
        content = read_beyond(file, limit)
    if len(content) > limit:
        raise DamagedFileError(f"has more than {limit:,} bytes")
    return content


def read_beyond(stream: BufferedIOBase, limit: int) -> bytes:
    """Return the content of a stream, or a little more than ``limit`` bytes of it.

    Asked for all at once, a stream allocates ``limit`` bytes, however few it holds.
    """
    content = bytearray()
    while len(content) <= limit and (part := stream.read(CHUNK)):
        content += part
    return bytes(content)


def read_object(path: Path, limit: int = LIMIT) -> dict[str, Any]:
    """Return the object in a JSON file.

    Raises:
        FileNotFoundError, DamagedFileError, StorageError: as ``read_file``, and damaged where the content is
            not a JSON object in UTF-8.
    """
    return parse_object(read_file(path, limit))


def parse_object(raw: bytes) -> dict[str, Any]:
    """Return the object in JSON text.

    Raises:
        DamagedFileError: not UTF-8, not JSON, nested too deeply, or not an object.
    """
    try:
        content = json.loads(raw.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise DamagedFileError(f"is not UTF-8 (byte {error.start + 1})") from None
    except json.JSONDecodeError as error:
        raise DamagedFileError(f"is not JSON: {error.msg} (line {error.lineno})") from None
    except (RecursionError, ValueError):  # nested too deeply; a number with thousands of digits
        raise DamagedFileError("is not JSON that can be read") from None
    if not isinstance(content, dict):
        raise DamagedFileError("is not a JSON object")
    return content


def _reading_error(error: OSError, path: Path) -> Exception:
    """Return the meaning of a failed read: nothing there, a wrong path, or a disk error."""
    if isinstance(error, FileNotFoundError):
        return FileNotFoundError(error.errno, error.strerror, str(path))
    if error.errno in _WRONG_PATH:
        return DamagedFileError(f"cannot be read: {error.strerror}")
    return unreadable(error, path)


def unreadable(error: OSError, path: Path) -> StorageError:
    """Return the user's message for a file that exists but cannot be read now."""
    return StorageError(
        f"cannot read: {error.strerror or error}",
        where=str(path),
        next_step="check its permissions and the disk, then run the same command again; nothing was changed",
    )
