"""Names and paths from people and files: which names may become a path, and which paths may be opened.

In: a name from a file, a path from a user. Out: the name or path if it is safe, the bytes of a
regular file, or the user's error. Knows nothing about what the files are for.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import Annotated, BinaryIO

from pydantic import AfterValidator

from clue_runner.config.shipped import absolute_path, as_given, user_path
from clue_runner.errors import ClueError, DataError, StorageError
from clue_runner.files.litter import is_litter

__all__ = [
    "PlainName",
    "absolute_path",
    "as_given",
    "name_fault",
    "open_regular",
    "read_regular",
    "user_path",
]

LONGEST_NAME = 100  # characters
LONGEST_NAME_BYTES = 200  # in UTF-8; file systems allow 255, and our own suffixes follow
FORBIDDEN = set('/\\:*?"<>|')
# Windows opens a device for these, with any suffix.
RESERVED = {
    "con",
    "prn",
    "aux",
    "nul",
    *(f"{port}{number}" for port in ("com", "lpt") for number in range(10)),
}
KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
# Without O_NONBLOCK, opening a pipe that nobody writes to waits forever.
OPEN_FLAGS = os.O_RDONLY
for _flag in ("O_NONBLOCK", "O_CLOEXEC", "O_BINARY"):
    OPEN_FLAGS |= getattr(os, _flag, 0)  # not every system has all of them
# Errors unrelated to the file: the same command works once the machine is in order again.
MACHINE_ERRORS = {
    errno.EACCES,
    errno.EPERM,
    errno.EIO,
    errno.EMFILE,
    errno.ENFILE,
    errno.ENOMEM,
    errno.ESTALE,
    errno.ETIMEDOUT,
}


def name_fault(name: str) -> str | None:
    """Return why ``name`` cannot be the name of a file on every system, or None.

    Examples:
        >>> name_fault("测试 1.json") is None, name_fault("../train.json")
        (True, 'a name may not contain "/"')
    """
    if not name:
        return "a name may not be empty"
    forbidden = next((char for char in name if char in FORBIDDEN or not char.isprintable()), None)
    if forbidden is not None:
        return f"a name may not contain {_shown(forbidden)}"
    if ".." in name:
        return 'a name may not contain ".."'
    if name.startswith(("-", " ")) or name.endswith((".", " ")):
        return "a name may not begin with a dash or a space, or end with a dot or a space"
    if len(name) > LONGEST_NAME or len(name.encode("utf-8")) > LONGEST_NAME_BYTES:
        return f"a name has at most {LONGEST_NAME} characters and {LONGEST_NAME_BYTES} bytes"
    if name.split(".")[0].strip().lower() in RESERVED:
        return "the name is reserved by Windows"
    if is_litter(name):
        return "the name is that of a hidden file or of litter, which listings do not show"
    return None


def _plain(name: str) -> str:
    """Return ``name``, or raise ``ValueError`` for pydantic."""
    fault = name_fault(name)
    if fault is not None:
        raise ValueError(fault)
    return name


PlainName = Annotated[str, AfterValidator(_plain)]
"""The type of every key that comes from a file and becomes part of a path."""


def open_regular(path: Path, *, error_type: type[ClueError] = DataError) -> BinaryIO:
    """Open a regular file for reading; a pipe or a device is refused before a byte is read.

    Args:
        path: the file; links are followed.
        error_type: what is raised where the file is missing or is not a file.

    Raises:
        ClueError: of ``error_type``.
        StorageError: it cannot be read now (permission, disk, too many open files); nothing is known about
            its content.
    """
    flags = (
        os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
    )
    try:
        descriptor = os.open(path, flags)
    except OSError as error:
        raise _unreadable(path, error, error_type) from None
    except ValueError as error:
        raise error_type("not a path", where=ascii(str(path))[1:-1][:200], received=str(error)) from None
    kind = stat.S_IFMT(os.fstat(descriptor).st_mode)
    if kind != stat.S_IFREG:
        os.close(descriptor)
        raise error_type(
            "not a regular file",
            where=str(path),
            received=KINDS.get(kind, "something else"),
            next_step="name a file on disk",
        )
    return os.fdopen(descriptor, "rb")


def read_regular(path: Path, *, error_type: type[ClueError] = DataError) -> bytes:
    """Return the bytes of a regular file; raises as ``open_regular``."""
    with open_regular(path, error_type=error_type) as stream:
        try:
            return stream.read()
        except OSError as error:
            raise _unreadable(path, error, error_type) from None


def _unreadable(path: Path, error: OSError, error_type: type[ClueError]) -> ClueError:
    """Return the error for a file that the system cannot read."""
    received = (error.strerror or str(error)).lower()
    if error.errno in MACHINE_ERRORS:
        return StorageError("cannot read the file", where=str(path), received=received)
    return error_type("cannot read the file", where=str(path), received=received)


def _shown(char: str) -> str:
    """Return a character as a message can show it."""
    return f'"{char}"' if char.isprintable() else f"the character U+{ord(char):04X}"
