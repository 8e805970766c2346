"""Files that a user names: read whole and bounded, and their text made safe to show.

In: paths as the user gave them. Out: the bytes or the text of regular files; text that a terminal prints as
it is. Whatever the operating system or a library says about a file becomes one ``ClueError`` that names it:
exit 3 where it is missing, no regular file or damaged, 5 where it unpacks without end, 8 where it may not be
read. Knows nothing about what the files hold.
"""

from __future__ import annotations

import errno
import gzip
import os
import stat
import zlib
from io import BytesIO
from pathlib import Path
from typing import Literal

from clue_runner.errors import ClueError, DataError, RefusedFileError, StorageError

GZIP = b"\x1f\x8b"
LARGEST = 1 << 30  # bytes; no file that is read in one piece comes near it
UNPACKED_RATIO = 200  # JSON and tables pack 3 to 12 times, a bomb 1,000 times
UNPACKED_FLOOR = 64 << 20  # bytes that any gzip may unpack to, however well it packs
CHUNK = 1 << 20

# The path itself is wrong; everything else that stat and open can say is about rights or the disk.
_WRONG_PATH = {
    errno.ENOENT,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.ELOOP,
    errno.ENAMETOOLONG,
    errno.EINVAL,
    errno.ENXIO,
}
_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}

Kind = Literal["file", "folder", "other", "missing"]


def user_path(text: str | Path) -> Path:
    """Return the path with ``~`` resolved.

    Raises:
        DataError: there is no such user, or the path cannot be one.
    """
    try:
        path = Path(text).expanduser()
        os.fsencode(path)
    except (RuntimeError, ValueError) as error:
        raise DataError("not a path", where=printable(str(text)), received=str(error)) from None
    if "\0" in str(path):
        raise DataError("not a path", where=printable(str(text)), received="a zero byte")
    return path


def kind_of(path: Path) -> Kind:
    """Return what stands at ``path``, links followed.

    Raises:
        StorageError: it cannot be looked at.
    """
    try:
        mode = path.stat().st_mode
    except OSError as error:
        if error.errno in _WRONG_PATH:
            return "missing"
        raise cannot_read(path, error) from None
    return "file" if stat.S_ISREG(mode) else "folder" if stat.S_ISDIR(mode) else "other"


def read_file(path: Path, *, what: str = "the file", limit: int = LARGEST) -> bytes:
    """Return the bytes of a regular file.

    Args:
        path: where it is.
        what: what messages call it.
        limit: bytes that it may have.

    Raises:
        DataError: missing, a folder, pipe or device, or larger than ``limit``.
        StorageError: it may not be read, or the disk fails.
    """
    parts, size = [], 0
    try:
        # Looked at before it is opened (a pipe would wait, some devices act), and again once it is open.
        _require_regular(path, path.stat().st_mode, what)
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as stream:
            _require_regular(path, os.fstat(descriptor).st_mode, what)
            while part := stream.read(CHUNK):
                parts.append(part)
                size += len(part)
                if size > limit:
                    raise DataError(
                        f"{what} is too large", where=printable(str(path)), allowed=f"{limit:,} bytes"
                    )
    except OSError as error:
        raise cannot_read(path, error, what) from None
    return b"".join(parts)


def read_text(path: Path, *, what: str = "the file", limit: int = LARGEST) -> str:
    """Return the text of a UTF-8 file, unpacked where it is a gzip, a byte order mark left out.

    Raises:
        DataError: as ``read_file``, not UTF-8 (with file:line), or a damaged gzip.
        RefusedFileError: a gzip that unpacks to far more than it holds.
        StorageError: as ``read_file``.
    """
    raw = unpack(read_file(path, what=what, limit=limit), str(path))
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{what} is not UTF-8",
            where=f"{printable(str(path))}:{line}",
            received=repr(raw[error.start : error.start + 4]),
        ) from None


def unpack(raw: bytes, where: str, *, limit: int | None = None) -> bytes:
    """Return what a gzip holds, or its first ``limit`` bytes; anything else as it is.

    Raises:
        DataError: a damaged gzip.
        RefusedFileError: it unpacks to far more than it holds.
    """
    if not raw.startswith(GZIP):
        return raw if limit is None else raw[:limit]
    allowed = max(UNPACKED_FLOOR, UNPACKED_RATIO * len(raw))
    parts, size = [], 0
    try:
        with gzip.GzipFile(fileobj=BytesIO(raw)) as stream:
            while part := stream.read(CHUNK):
                parts.append(part)
                size += len(part)
                if limit is not None and size >= limit:
                    break
                if size > allowed:
                    raise RefusedFileError(
                        "the gzip is refused: it unpacks to far more than it holds",
                        where=printable(where),
                        received=f"more than {allowed:,} bytes from {len(raw):,}",
                    )
    except (OSError, EOFError, zlib.error) as error:
        raise DataError("the gzip is damaged", where=printable(where), received=str(error)) from None
    whole = b"".join(parts)
    return whole if limit is None else whole[:limit]


def printable(text: str, limit: int | None = None) -> str:
    """Return ``text`` with control characters, terminal escapes and half characters written as escapes.

    Args:
        text: from a file, a file name or an archive.
        limit: characters kept; what is longer ends in "...".
    """
    if limit is not None and len(text) > limit:
        text = f"{text[: limit - 3]}..."
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text
    )


def cannot_read(path: Path, error: OSError, what: str = "the file") -> ClueError:
    """Return the user's message for what the operating system said about ``path``."""
    kind = DataError if error.errno in _WRONG_PATH else StorageError
    return kind(f"cannot read {what}", where=printable(str(path)), received=error.strerror or str(error))


def _require_regular(path: Path, mode: int, what: str) -> None:
    if not stat.S_ISREG(mode):
        raise DataError(
            f"cannot read {what}",
            where=printable(str(path)),
            received=_KINDS.get(stat.S_IFMT(mode), "something else"),
            allowed="a regular file",
        )
