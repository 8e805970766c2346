"""Word vectors: both formats, and every way in which a file can be wrong."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from clue_runner.errors import DataError, RefusedFileError
from clue_runner.tokens.vectors import read_word_vectors, write_word_vectors

WORDS = ["中国", "的", "a b".replace(" ", ""), "北京"]
TABLE = np.random.default_rng(0).normal(size=(4, 5)).astype(np.float32)


def binary(words: list[str], table: np.ndarray, end: bytes = b"\n") -> bytes:
    rows = (
        word.encode() + b" " + row.astype("<f4").tobytes() + end
        for word, row in zip(words, table, strict=True)
    )
    return f"{len(words)} {table.shape[1]}\n".encode() + b"".join(rows)


@pytest.mark.parametrize("kind", ["text", "text without header", "binary", "binary without line ends"])
def test_every_format_gives_the_same(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "vectors"
    if kind.startswith("text"):
        write_word_vectors(path, WORDS, TABLE)
        if kind != "text":
            path.write_bytes(path.read_bytes().split(b"\n", 1)[1])
    else:
        path.write_bytes(binary(WORDS, TABLE, b"\n" if kind == "binary" else b""))
    found = read_word_vectors(path)
    assert found.words == {word: row for row, word in enumerate(WORDS, 1)}
    assert (found.table[0] == 0).all() and found.table.dtype == np.float32
    np.testing.assert_allclose(found.table[1:], TABLE, rtol=1e-5)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"2 3\na 1 2 3\nb 1 2\n", r"vectors:3: word vectors of two widths, got 2 numbers \(allowed: 3\)"),
        (b"a 1 2 3\nb 1 2 3 4\n", r"vectors:2: word vectors of two widths"),
        (b"3 3\na 1 2 3\nb 1 2 3\n", "are cut, got 2 words"),
        (b"2 3\na 1 2 3\nb 1 x 3\n", "vectors:3: not a word and its vector"),
        (b"1 2\na 1 nan\n", "not a number"),
        (b"", "hold no word"),
        (b"0 5\n", "hold no word"),
        (binary(WORDS, TABLE)[:-30], "are cut"),
        (binary(WORDS, TABLE).replace(b"4 5", b"4 4", 1), "cut or of two widths"),
    ],
)
def test_broken_files_say_where(content: bytes, says: str, tmp_path: Path) -> None:
    path = tmp_path / "vectors"
    path.write_bytes(content)
    with pytest.raises(DataError, match=says):
        read_word_vectors(path)


def test_a_pickle_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "vectors"
    path.write_bytes(pickle.dumps({"a": [1.0]}))
    with pytest.raises(RefusedFileError, match="pickle"):
        read_word_vectors(path)
    with pytest.raises(DataError, match="cannot read"):
        read_word_vectors(tmp_path / "none")
