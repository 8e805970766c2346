"""Decodes a text file and detects its encoding: UTF-8 with or without a byte order mark, UTF-16, GB18030.

In: bytes. Out: the text and the name of its encoding. Knows nothing about the content.
"""

from __future__ import annotations

import codecs
from dataclasses import dataclass

from clue_runner.errors import DataError

MARKS = (
    (codecs.BOM_UTF8, "utf-8", "UTF-8 with a byte order mark"),
    (codecs.BOM_UTF16_LE, "utf-16-le", "UTF-16"),
    (codecs.BOM_UTF16_BE, "utf-16-be", "UTF-16"),
)
# The 3,755 characters of GB2312's level 1 make up nearly all of modern Chinese. Other encodings that
# happen to decode as GB18030 (Big5, Shift-JIS, Latin-1) give rare characters.
COMMON_SHARE = 0.6
SAMPLE_BYTES = 1 << 20


@dataclass(frozen=True)
class Decoded:
    """A text, and the name of its encoding for messages."""

    text: str
    encoding: str


def decode(raw: bytes, path: str) -> Decoded:
    """Return the text of a file, a byte order mark dropped.

    Raises:
        DataError: zero bytes, bytes that fit no encoding, or text that was decoded by accident.
    """
    for mark, codec, name in MARKS:
        if raw.startswith(mark):
            return Decoded(_strict(raw.removeprefix(mark), codec, name, path), name)
    if b"\x00" in raw:
        line = raw.count(b"\n", 0, raw.index(b"\x00")) + 1
        raise DataError(
            "not a text file: it has zero bytes",
            where=f"{path}:{line}",
            next_step="save it as UTF-8 text",
        )
    try:
        return Decoded(raw.decode("utf-8"), "UTF-8")
    except UnicodeDecodeError as error:
        broken = error
    whole = _readable(raw)
    if whole > broken.start and looks_like_gb18030(raw[:whole]):  # one wrong byte is no other encoding
        return Decoded(_strict(raw, "gb18030", "GB18030", path), "GB18030")
    raise DataError(
        "neither UTF-8 nor GB18030",
        where=f"{path}:{raw.count(bytes([10]), 0, broken.start) + 1}",
        received=f"byte 0x{raw[broken.start]:02x}",
        next_step="save the file as UTF-8 (spreadsheets: Save as, CSV UTF-8)",
    )


def _readable(raw: bytes) -> int:
    """Return how many bytes from the first on decode as GB18030."""
    try:
        raw.decode("gb18030")
    except UnicodeDecodeError as error:
        return error.start
    return len(raw)


def looks_like_gb18030(raw: bytes) -> bool:
    """Return whether the bytes decode as GB18030 and mostly to common Chinese characters."""
    try:
        text = raw.decode("gb18030")
    except UnicodeDecodeError:
        return False
    wide = [char for char in text[:SAMPLE_BYTES] if ord(char) > 0x7F]
    common = sum(_is_common(char) for char in wide)
    return bool(wide) and common >= COMMON_SHARE * len(wide)


def _is_common(char: str) -> bool:
    """Return whether a character is in GB2312's symbols or level 1."""
    try:
        raw = char.encode("gb2312")
    except UnicodeEncodeError:
        return False
    return len(raw) == 2 and (0xA1 <= raw[0] <= 0xA3 or 0xB0 <= raw[0] <= 0xD7)


def _strict(raw: bytes, codec: str, name: str, path: str) -> str:
    """Return the text, or raise with the line where the bytes contradict the file's beginning."""
    try:
        return raw.decode(codec)
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"not {name}, although it begins like it",
            where=f"{path}:{line}",
            next_step="save the file as UTF-8",
        ) from None
