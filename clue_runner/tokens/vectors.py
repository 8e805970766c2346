"""Word vectors from word2vec's plain formats, text or binary, also compressed; never a pickle.

In: a file. Out: words and a float32 table. Knows nothing about texts or models.

Both formats begin with a line "count size". Text: a word and ``size`` numbers per line. Binary: word, space,
``size`` little-endian float32, usually a newline. A text file without the first line (GloVe's) is read too.
Published files hold a few broken rows among a million: such rows are left out and reported.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clue_runner.errors import DataError, Problem, RefusedFileError
from clue_runner.tokens.unpacked import read_unpacked
from clue_runner.tokens.vector_rows import Header, Rows, is_text, read_binary, read_header, read_text

BAD_SHARE = 0.01  # rows that may be broken or missing before the file is refused
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
PICKLE = b"\x80"
# First bytes -> what the file is; none of these is a list of words and numbers.
OTHERS: dict[bytes, str] = {
    b"\xff\xfe": "UTF-16; save it as UTF-8",
    b"\xfe\xff": "UTF-16; save it as UTF-8",
    b"\x93NUMPY": "a NumPy array, which has no words",
    b"\x89HDF": "HDF5",
    b"\x28\xb5\x2f\xfd": "compressed by zstd; unpack it first",
    b"7z\xbc\xaf": "a 7z archive; unpack it first",
    b"Rar!": "a RAR archive; unpack it first",
    b"\xba\x16\x4f\x2f": "a fastText model; its .vec file holds the vectors",
    b"version https://git-lfs": "a Git LFS pointer: the file itself was not downloaded (git lfs pull)",
    b"<!DOCTYPE": "a web page",
    b"<!doctype": "a web page",
    b"<html": "a web page",
}
TAR = slice(257, 262)
NEXT_STEP = "export the vectors in word2vec's text or binary format (gensim: save_word2vec_format)"


@dataclass(frozen=True)
class WordVectors:
    """Words and their vectors.

    Args:
        words: word -> row of ``table``, from 1.
        table: (words + 1, size) float32; row 0 is zeros and stands for every unknown word.
        sha256: the file's hash.
        notices: sentences about what was left out of the file.
    """

    words: dict[str, int]
    table: NDArray[np.float32]
    sha256: str
    notices: tuple[str, ...] = ()


def read_word_vectors(path: Path) -> WordVectors:
    """Return the vectors of a file; single broken rows are left out and noted.

    Raises:
        DataError: missing, empty, truncated, of another format, or over 1 % of the rows broken or missing;
            text files with file:line.
        RefusedFileError: a pickle, which can carry code, or a file that unpacks to far more than its size.
        StorageError: it cannot be read at the moment.
    """
    raw, sha256 = read_unpacked(path)
    _refuse_others(raw, path)
    notices = []
    if raw.startswith(BYTE_ORDER_MARK):
        raw = raw.removeprefix(BYTE_ORDER_MARK)
        notices.append(f"{path}: the byte order mark at its beginning was ignored")
    header = read_header(raw)
    binary = header is not None and not is_text(raw, header)
    rows = read_binary(raw, header) if header and binary else read_text(raw, header)
    place = f"{path}: word " if binary else f"{path}:"
    notices += [*_broken_notices(rows, path, place), *_header_notices(rows, header, path)]
    if not rows.words or not rows.table.shape[1]:
        missing = "number" if rows.words else "word"
        raise DataError(f"the word vectors have no {missing}", where=str(path), next_step=NEXT_STEP)
    index: dict[str, int] = {}
    for row, word in enumerate(rows.words, 1):
        index.setdefault(word, row)
    if repeated := len(rows.words) - len(index):
        notices.append(f"{path}: {repeated:,} of {rows.total:,} rows repeat a word; its first row counts")
    return WordVectors(index, rows.table, sha256, tuple(notices))


def write_word_vectors(path: Path, words: list[str], table: NDArray[np.float32]) -> None:
    """Write the text format."""
    lines = [f"{len(words)} {table.shape[1]}"]
    lines += [
        f"{word} {' '.join(f'{value:.6g}' for value in row)}" for word, row in zip(words, table, strict=True)
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _refuse_others(raw: bytes, path: Path) -> None:
    """Refuse a pickle, and name other formats recognised by their first bytes."""
    if raw.startswith(PICKLE):
        raise RefusedFileError(
            "the word vectors are a pickle, which can execute code; it was not read",
            where=str(path),
            next_step=NEXT_STEP,
        )
    kind = next((name for start, name in OTHERS.items() if raw.startswith(start)), None)
    if raw[TAR] == b"ustar":
        kind = "a tar archive; unpack it first"
    if kind:
        raise DataError("not a file of word vectors", where=str(path), received=kind, next_step=NEXT_STEP)


def _broken_notices(rows: Rows, path: Path, place: str) -> list[str]:
    """Return notices about rows that were left out.

    Raises:
        DataError: more than 1 % of the rows.
    """
    if not rows.broken:
        return []
    if len(rows.broken) > BAD_SHARE * rows.total:
        raise DataError(
            "too many rows of the word vectors are broken",
            where=str(path),
            received=f"{len(rows.broken):,} of {rows.total:,}",
            allowed=f"at most {BAD_SHARE:.0%}",
            problems=[Problem(row.reason, f"{place}{row.number}") for row in rows.broken],
            next_step=NEXT_STEP,
        )
    first = {row.reason: row.number for row in reversed(rows.broken)}
    parts = (
        f"{count:,} because {reason} (first at {place}{first[reason]})"
        for reason, count in Counter(row.reason for row in rows.broken).most_common()
    )
    return [f"{path}: {len(rows.broken):,} of {rows.total:,} rows left out: {'; '.join(parts)}"]


def _header_notices(rows: Rows, header: Header | None, path: Path) -> list[str]:
    """Return notices about a first line that disagrees with the rows.

    Raises:
        DataError: more than 1 % of the words that it announces are missing.
    """
    if header is None:
        return []
    notices = []
    size = rows.table.shape[1]
    if rows.total < header.count * (1 - BAD_SHARE):
        raise DataError(
            "the word vectors are truncated, or of another width than their first line states",
            where=str(path),
            received=f"{rows.total:,} words of {size:,} numbers",
            allowed=f"{header.count:,} words of {header.size:,}",
            next_step="download or copy the file again",
        )
    if (rows.total, size) != (header.count, header.size):
        notices.append(
            f"{path}: its first line announces {header.count:,} words of {header.size:,} numbers, "
            f"but it holds {rows.total:,} of {size:,}"
        )
    if rows.unread:
        notices.append(f"{path}: {rows.unread:,} bytes at its end are not a complete row")
    return notices
