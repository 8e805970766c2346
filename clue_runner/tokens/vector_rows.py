"""Reads rows of word vectors from the bytes of a text or binary file; broken rows are set aside, not fatal.

In: bytes. Out: words, a table, and the rows that were left out with the reason of each.
Knows nothing about files or about how many broken rows are too many.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
from numpy.typing import NDArray

HEADER_LIMIT = 64
WORD_LIMIT = 4096  # bytes of one word; a longer one means that this is another kind of file
SAMPLED = 100  # rows examined to find the number of values per row
BLANKS = frozenset(" \t\r\n\v\f")  # separators of a row's fields, so that no word can contain them


@dataclass(frozen=True)
class Header:
    """The first line: how many words of how many numbers, and where the rows begin."""

    count: int
    size: int
    end: int


@dataclass(frozen=True)
class BrokenRow:
    """A row that was left out: its number from 1 (of the line, or of the word in a binary file), and why."""

    number: int
    reason: str


@dataclass
class Rows:
    """What was read.

    Args:
        words: of the rows that are whole.
        table: (words + 1, size) float32; row 0 is zeros.
        broken: the other rows.
        unread: bytes at the end that hold no whole row.
    """

    words: list[str]
    table: NDArray[np.float32]
    broken: list[BrokenRow] = field(default_factory=list)
    unread: int = 0

    @property
    def total(self) -> int:
        """Return the number of rows, broken ones counted."""
        return len(self.words) + len(self.broken)


def read_header(raw: bytes) -> Header | None:
    """Return what the first line says; None where it is not of two counts."""
    end = raw.find(b"\n", 0, HEADER_LIMIT)
    parts = raw[:end].split() if end > 0 else []
    if len(parts) != 2 or not all(part.isdigit() for part in parts):
        return None
    return Header(int(parts[0]), int(parts[1]), end + 1)


def is_text(raw: bytes, header: Header) -> bool:
    """Return whether lines of numbers follow the first line; float32 bytes read as text are not numbers."""
    sample = raw[header.end : header.end + 10 * (WORD_LIMIT + 32 * min(header.size, WORD_LIMIT))]
    lines = [line for line in sample.split(b"\n")[:10] if line.strip()]
    return 2 * sum(_number(line.split()[-1]) is not None for line in lines) >= len(lines)


def read_text(raw: bytes, header: Header | None) -> Rows:
    """Return the rows of the text format: in each line a word and its numbers, parted by spaces or tabs."""
    size = _usual_size(raw, header)
    words: list[str] = []
    vectors = [np.zeros(size, np.float32)]
    broken: list[BrokenRow] = []
    for number, fields in _lines(raw, header):
        try:
            vector = _vector(fields, size)
            words.append(_word(fields[0]))
        except _BrokenError as fault:
            broken.append(BrokenRow(number, str(fault)))
        else:
            vectors.append(vector)
    return Rows(words, np.stack(vectors), broken)


def read_binary(raw: bytes, header: Header) -> Rows:
    """Return the rows of the binary format: word, space, ``size`` little-endian float32, usually a newline.

    Rows are read to the end of the bytes, whatever count the first line gives. A word with a space inside
    shifts everything behind it; where rows end with a newline, the newline shows where the next row begins.
    """
    size = 4 * header.size
    if size > len(raw):
        return Rows([], np.zeros((1, 1), np.float32), unread=len(raw) - header.end)
    most = (len(raw) - header.end) // (size + 2) + 1
    table = np.zeros((most + 1, header.size), np.float32)
    words: list[str] = []
    broken: list[BrokenRow] = []
    lined = _word_end(raw, header.end, size, lined=True) is not None
    place = header.end
    while (space := _word_end(raw, place, size, lined=lined) or _word_end(raw, place, size)) is not None:
        vector = np.frombuffer(raw, "<f4", header.size, space + 1)
        try:
            word = _word(raw[place:space].lstrip(b"\n"))
            table[len(words) + 1] = _finite(vector)
            words.append(word)
        except _BrokenError as fault:
            broken.append(BrokenRow(len(words) + len(broken) + 1, str(fault)))
        place = space + 1 + size
    return Rows(words, table[: len(words) + 1], broken, unread=len(raw[place:].strip()))


class _BrokenError(ValueError):
    """Why a row is left out."""


def _lines(raw: bytes, header: Header | None) -> Iterator[tuple[int, list[bytes]]]:
    """Yield the number and the fields of every line that is not blank."""
    for number, line in enumerate(io.BytesIO(raw), 1):
        fields = line.split()
        if fields and not (number == 1 and header):
            # A line that begins with a blank has no word; its first number must not be taken for one.
            yield number, [b"", *fields] if line[:1].isspace() else fields


def _usual_size(raw: bytes, header: Header | None) -> int:
    """Return how many numbers most of the first rows have; the first line's own size where they are equal."""
    sizes = Counter(len(fields) - 1 for _, fields in islice(_lines(raw, header), SAMPLED))
    if not sizes:
        return 0
    most = max(sizes.values())
    return header.size if header and sizes[header.size] == most else sizes.most_common(1)[0][0]


def _vector(fields: Sequence[bytes], size: int) -> NDArray[np.float32]:
    if len(fields) - 1 > size and all(_number(text) is not None for text in fields[-size:]):
        raise _BrokenError("there is a space or tab inside the word")
    if len(fields) - 1 != size:
        raise _BrokenError(f"it has {len(fields) - 1} numbers instead of {size}")
    try:
        with np.errstate(over="ignore"):  # becomes infinite, which is refused by name
            return _finite(np.array(fields[1:], np.float32))
    except ValueError as error:
        if isinstance(error, _BrokenError):
            raise
        wrong = next(text for text in fields[1:] if _number(text) is None)
        raise _BrokenError(f"{ascii(wrong.decode('utf-8', 'replace'))[:20]} is not a number") from None


def _finite(vector: NDArray[np.float32]) -> NDArray[np.float32]:
    if not np.isfinite(vector).all():
        raise _BrokenError("a number is NaN or infinite")
    return vector


def _word(raw: bytes) -> str:
    try:
        word = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise _BrokenError("the word is not UTF-8") from None
    if not word:
        raise _BrokenError("there is no word")
    if not BLANKS.isdisjoint(word):
        raise _BrokenError("there is a space or tab inside the word")
    return word


def _number(text: bytes) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _word_end(raw: bytes, place: int, size: int, *, lined: bool = False) -> int | None:
    """Return where the space behind the word of a binary row is; None where no whole row begins here.

    With ``lined``, only a space counts whose vector ends at a newline or at the end of the bytes.
    """
    space = place - 1
    while (space := raw.find(b" ", space + 1, place + WORD_LIMIT)) >= 0:
        end = space + 1 + size
        if end > len(raw):
            return None
        if not lined or (raw[end : end + 1] in {b"\n", b""} and _is_utf8(raw[place:space])):
            return space
    return None


def _is_utf8(raw: bytes) -> bool:
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
