"""Text files named by the user: unpacked within bounds, decoded, and made safe to show.

In: paths from the user. Out: text; and text that is safe to print on a terminal.
A damaged or endless file is one error that names it. Knows nothing about what the files hold.
"""

from __future__ import annotations

import gzip
import zlib
from io import BytesIO
from pathlib import Path

from clue_runner.errors import DataError, RefusedFileError
from clue_runner.files.names import read_regular

GZIP = b"\x1f\x8b"
UNPACKED_RATIO = 200  # JSON and tables compress 3 to 12 times, a bomb 1,000 times
UNPACKED_FLOOR = 64 << 20  # bytes that any gzip may unpack to, whatever its ratio
CHUNK = 1 << 20


def read_text(path: Path) -> str:
    """Return the text of a UTF-8 file, unpacked if it is a gzip, without a byte order mark.

    Raises:
        DataError: missing, not a regular file, a damaged gzip, or not UTF-8 (with file:line).
        RefusedFileError: a gzip that unpacks to far more than its size.
        StorageError: it cannot be read now.
    """
    raw = unpack(read_regular(path), str(path))
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise DataError(
            "the file is not UTF-8",
            where=f"{printable(str(path))}:{line}",
            received=repr(raw[error.start : error.start + 4]),
        ) from None


def unpack(raw: bytes, where: str, *, limit: int | None = None) -> bytes:
    """Return the content of a gzip, or its first ``limit`` bytes; anything else unchanged.

    Raises:
        DataError: a damaged gzip.
        RefusedFileError: it unpacks to far more than its size.
    """
    if not raw.startswith(GZIP):
        return raw[:limit]
    allowed = max(UNPACKED_FLOOR, UNPACKED_RATIO * len(raw))
    parts, size = [], 0
    try:
        with gzip.GzipFile(fileobj=BytesIO(raw)) as stream:
            while (limit is None or size < limit) and (part := stream.read(CHUNK)):
                parts.append(part)
                size += len(part)
                if size > allowed:
                    raise RefusedFileError(
                        "the gzip is refused: it unpacks to far more than its size",
                        where=printable(where),
                        received=f"more than {allowed:,} bytes from {len(raw):,}",
                    )
    except (OSError, EOFError, zlib.error) as error:
        raise DataError("the gzip is damaged", where=printable(where), received=str(error)) from None
    return b"".join(parts)[:limit]


def printable(text: str, limit: int | None = None) -> str:
    """Return ``text`` with control characters, terminal escapes and half characters written as escapes.

    Args:
        text: from a file, a file name or an archive.
        limit: characters kept; longer text ends in "...".
    """
    if limit is not None and len(text) > limit:
        text = f"{text[: limit - 3]}..."
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text
    )
