"""Word vectors from word2vec's plain formats, text or binary; never a pickle.

In: a file. Out: words and a float32 table. Knows nothing about texts or models.

Both formats begin with a line "count size". Text: a word and ``size`` numbers a line. Binary: word, space,
``size`` little-endian float32, usually a newline. A text file without the first line (GloVe's) is read too.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clue_runner.errors import DataError, RefusedFileError

HEADER_LIMIT = 64
WORD_LIMIT = 4096  # bytes of one word; a longer one means that this is no such file
PICKLE = b"\x80"
NEXT_STEP = "export the vectors in word2vec's text or binary format (gensim: save_word2vec_format)"


@dataclass(frozen=True)
class WordVectors:
    """Words and their vectors.

    Args:
        words: word -> row of ``table``, from 1.
        table: (words + 1, size) float32; row 0 is zeros and stands for every unknown word.
        sha256: of the file.
    """

    words: dict[str, int]
    table: NDArray[np.float32]
    sha256: str


def read_word_vectors(path: Path) -> WordVectors:
    """Return the vectors of a file.

    Raises:
        DataError: missing, empty, cut, vectors of two widths, or not numbers; text files with file:line.
        RefusedFileError: a pickle, which can carry code.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise DataError("cannot read the word vectors", where=str(path), received=error.strerror) from None
    if raw.startswith(PICKLE):
        raise RefusedFileError(
            "the word vectors are a pickle, which can carry code; it was not read",
            where=str(path),
            next_step=NEXT_STEP,
        )
    header = _header(raw)
    binary = header is not None and _is_binary(raw, header)
    words, table = _read_binary(raw, header, path) if header and binary else _read_text(raw, header, path)
    if not words:
        raise DataError("the word vectors hold no word", where=str(path), next_step=NEXT_STEP)
    zero = np.zeros((1, table.shape[1]), np.float32)
    index: dict[str, int] = {}
    for row, word in enumerate(words, 1):
        index.setdefault(word, row)
    return WordVectors(index, np.concatenate([zero, table]), hashlib.sha256(raw).hexdigest())


def write_word_vectors(path: Path, words: list[str], table: NDArray[np.float32]) -> None:
    """Write the text format."""
    lines = [f"{len(words)} {table.shape[1]}"]
    lines += [
        f"{word} {' '.join(f'{value:.6g}' for value in row)}" for word, row in zip(words, table, strict=True)
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _header(raw: bytes) -> tuple[int, int, int] | None:
    """Return (count, size, where the vectors begin), or None without such a first line."""
    end = raw.find(b"\n", 0, HEADER_LIMIT)
    parts = raw[:end].split() if end > 0 else []
    if len(parts) != 2 or not all(part.isdigit() for part in parts):
        return None
    return int(parts[0]), int(parts[1]), end + 1


def _is_binary(raw: bytes, header: tuple[int, int, int]) -> bool:
    """Return whether what follows the first word is float32 rather than ``size`` numbers in a line."""
    _, size, start = header
    line = raw[start : start + WORD_LIMIT + 32 * size].partition(b"\n")[0]
    try:
        numbers = line.decode("utf-8").rstrip().split(" ")[-size:]
        [float(number) for number in numbers]
    except (UnicodeDecodeError, ValueError):
        return True
    return False


def _read_text(
    raw: bytes, header: tuple[int, int, int] | None, path: Path
) -> tuple[list[str], NDArray[np.float32]]:
    """Return words and vectors of the text format."""
    words: list[str] = []
    rows: list[NDArray[np.float32]] = []
    size = header[1] if header else None
    for number, line in enumerate(raw.split(b"\n"), 1):
        if not line.strip() or (number == 1 and header):
            continue
        parts = line.rstrip(b" \r").split(b" ")
        width = len(parts) - 1
        if size is None:
            size = width
        if width != size:
            raise DataError(
                "word vectors of two widths",
                where=f"{path}:{number}",
                received=f"{width} numbers",
                allowed=str(size),
            )
        try:
            words.append(parts[0].decode("utf-8"))
            rows.append(np.array(parts[1:], np.float32))
        except (UnicodeDecodeError, ValueError):
            raise DataError(
                "not a word and its vector",
                where=f"{path}:{number}",
                received=repr(line[:40]),
                next_step=NEXT_STEP,
            ) from None
    if header and len(words) != header[0]:
        raise DataError(
            "the word vectors are cut",
            where=str(path),
            received=f"{len(words):,} words",
            allowed=f"{header[0]:,}",
        )
    table = np.stack(rows) if rows else np.zeros((0, size or 0), np.float32)
    return words, _finite(table, path)


def _read_binary(
    raw: bytes, header: tuple[int, int, int], path: Path
) -> tuple[list[str], NDArray[np.float32]]:
    """Return words and vectors of the binary format."""
    count, size, place = header
    if count * (4 * size + 2) > len(raw) - place + 1:
        raise DataError(
            "the word vectors are cut",
            where=str(path),
            received=f"{len(raw):,} bytes",
            allowed=f"{count:,} words of {size} numbers",
        )
    words: list[str] = []
    table = np.empty((count, size), np.float32)
    for row in range(count):
        space = raw.find(b" ", place, place + WORD_LIMIT)
        if space < 0 or space + 1 + 4 * size > len(raw):
            raise DataError("the word vectors are cut or of two widths", where=f"{path}: word {row + 1:,}")
        try:
            words.append(raw[place:space].lstrip(b"\n").decode("utf-8"))
        except UnicodeDecodeError:
            raise DataError(
                "the word vectors are cut or of two widths",
                where=f"{path}: word {row + 1:,}",
                next_step=NEXT_STEP,
            ) from None
        table[row] = np.frombuffer(raw, "<f4", size, space + 1)
        place = space + 1 + 4 * size
    return words, _finite(table, path)


def _finite(table: NDArray[np.float32], path: Path) -> NDArray[np.float32]:
    """Refuse vectors that are not numbers: they would end every run."""
    bad = np.flatnonzero(~np.isfinite(table).all(axis=1))
    if len(bad):
        raise DataError("a word vector is not a number", where=f"{path}: word {int(bad[0]) + 1:,}")
    return table
