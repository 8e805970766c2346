"""The bytes of a file that may be compressed: gzip, bzip2, xz, or a zip with one member.

In: a path. Out: the plain bytes, and the hash of the file on disk. Its format is recognised by its first
bytes, not from its name. A file that would unpack to far more than its size is refused while it unpacks.
Knows nothing about what the bytes mean.
"""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import lzma
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from clue_runner.data.archives import MAX_RATIO, RATIO_FLOOR_BYTES
from clue_runner.errors import DataError, RefusedFileError
from clue_runner.files.litter import is_litter
from clue_runner.files.names import read_regular

CHUNK = 1 << 20
XZ_MEMORY = 1 << 28  # bytes that one xz block may need; xz -9 needs a quarter
GZIP, BZIP2, XZ, ZIP = b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00", b"PK\x03\x04"
# What each of Python's readers raises at bytes that are not what they should be.
_DAMAGED = (
    OSError,
    EOFError,
    ValueError,
    RuntimeError,
    NotImplementedError,
    IndexError,
    KeyError,
    struct.error,
    zlib.error,
    lzma.LZMAError,
    zipfile.BadZipFile,
)


def read_unpacked(path: Path) -> tuple[bytes, str]:
    """Return the plain bytes of a file and the sha256 of the file.

    Raises:
        DataError: missing, not a regular file, damaged, encrypted, or a zip with several members.
        RefusedFileError: it unpacks to more than any honest file of its size.
        StorageError: it cannot be read at the moment.
    """
    raw = read_regular(path)
    return _unpacked(raw, path), hashlib.sha256(raw).hexdigest()


def _unpacked(raw: bytes, path: Path) -> bytes:
    limit = max(RATIO_FLOOR_BYTES, MAX_RATIO * len(raw))
    plain = io.BytesIO()
    try:
        for chunk in _chunks(raw, path):
            plain.write(chunk)
            if plain.tell() > limit:
                raise RefusedFileError(
                    "the file unpacks to far more than its size",
                    where=str(path),
                    received=f"more than {limit:,} bytes from {len(raw):,}",
                    allowed=f"{MAX_RATIO} times",
                    next_step="unpack it yourself if you trust it, and name the unpacked file",
                )
    except _DAMAGED as error:
        raise DataError(
            "the compressed file is damaged or truncated",
            where=str(path),
            received=str(error) or type(error).__name__,
            next_step="download or copy it again",
        ) from None
    return plain.getvalue()


def _chunks(raw: bytes, path: Path) -> Iterator[bytes]:
    """Yield the plain bytes piece by piece."""
    stream: IO[bytes] | gzip.GzipFile | bz2.BZ2File
    if raw.startswith(GZIP):
        stream = gzip.GzipFile(fileobj=io.BytesIO(raw))
    elif raw.startswith(BZIP2):
        stream = bz2.BZ2File(io.BytesIO(raw))
    elif raw.startswith(ZIP):
        stream = _member(zipfile.ZipFile(io.BytesIO(raw)), path)
    elif raw.startswith(XZ):
        yield from _xz(raw)
        return
    else:
        yield raw
        return
    while chunk := stream.read(CHUNK):
        yield chunk


def _xz(raw: bytes) -> Iterator[bytes]:
    """Yield the content of every xz stream; ``LZMAFile`` cannot be given a limit for its memory."""
    while raw.strip(b"\x00"):
        stream = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=XZ_MEMORY)
        yield stream.decompress(raw, CHUNK)
        while not stream.eof:
            if stream.needs_input:
                raise EOFError("the file ends too early")
            yield stream.decompress(b"", CHUNK)
        raw = stream.unused_data


def _member(archive: zipfile.ZipFile, path: Path) -> IO[bytes]:
    """Open the only file of a zip."""
    members = [
        member for member in archive.infolist() if not member.is_dir() and not is_litter(member.filename)
    ]
    if len(members) != 1:
        names = ", ".join(repr(member.filename) for member in members[:5]) or "none"
        raise DataError(
            "the zip must contain one file",
            where=str(path),
            received=f"{len(members):,} files: {names}",
            next_step="unpack it and name the file",
        )
    if members[0].flag_bits & 0x1:
        raise DataError("the zip is encrypted", where=str(path), next_step="give a zip without a password")
    return archive.open(members[0])
