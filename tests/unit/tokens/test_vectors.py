"""Word vectors: both formats, and every way in which a file can be wrong."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import pickle
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from clue_runner.errors import ClueError, DataError, RefusedFileError
from clue_runner.tokens.vectors import WordVectors, read_word_vectors, write_word_vectors

WORDS = ["中国", "的", "a b".replace(" ", ""), "北京"]
TABLE = np.random.default_rng(0).normal(size=(4, 5)).astype(np.float32)


def binary(words: list[str], table: np.ndarray, end: bytes = b"\n") -> bytes:
    return binary_rows([word.encode() for word in words], table, end)


def binary_rows(words: list[bytes], table: np.ndarray, end: bytes = b"\n") -> bytes:
    rows = (word + b" " + row.astype("<f4").tobytes() + end for word, row in zip(words, table, strict=True))
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


# --- one bad row of many ---------------------------------------------------------------------------

MANY = [f"w{number}" for number in range(300)]


def text_rows(count: int = 300) -> list[bytes]:
    return [f"w{number} {number} 0.5 -1e-3".encode() for number in range(count)]


def read(path: Path, content: bytes) -> WordVectors:
    path.write_bytes(content)
    return read_word_vectors(path)


@pytest.mark.parametrize("header", [b"300 3\n", b""])
@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (b"\xc3\x28 1 2 3", "the word is not UTF-8"),
        (b"New York 1 2 3", "a space or tab inside the word"),
        (b"New\tYork 1 2 3", "a space or tab inside the word"),
        (b" 1 2 3", "there is no word"),
        (b"b 1 2", "2 numbers instead of 3"),
        (b"b 1 2 3 x", "4 numbers instead of 3"),
        (b"b", "0 numbers instead of 3"),
        (b"b 1 x 3", "'x' is not a number"),
        (b"b 1 \xff 3", "is not a number"),
        (b"b 1 nan 3", "a number is NaN or infinite"),
        (b"b 1 1e99 3", "a number is NaN or infinite"),
    ],
)
@pytest.mark.parametrize("place", [0, 7, 299])
def test_a_broken_row_of_a_text_is_left_out_counted_and_said(
    tmp_path: Path, header: bytes, row: bytes, reason: str, place: int
) -> None:
    rows = text_rows()
    rows[place] = row
    found = read(tmp_path / "vectors", header + b"\n".join(rows) + b"\n")
    assert list(found.words) == [*MANY[:place], *MANY[place + 1 :]]
    assert found.table.shape == (300, 3)
    assert found.table[found.words["w42"]].tolist() == pytest.approx([42, 0.5, -1e-3])
    [notice] = found.notices
    line = place + 1 + bool(header)
    assert "1 of 300 rows left out: 1 because" in notice
    assert reason in notice and f"(first at {tmp_path / 'vectors'}:{line})" in notice


@pytest.mark.parametrize("row", [b"\xff\xfe", b"New York", b"", b"a\tb"])
@pytest.mark.parametrize("place", [1, 299])
def test_a_broken_word_of_a_binary_file_costs_its_own_row(tmp_path: Path, row: bytes, place: int) -> None:
    table = np.random.default_rng(1).normal(size=(300, 5)).astype(np.float32)
    words = [word.encode() for word in MANY]
    words[place] = row
    found = read(tmp_path / "vectors", binary_rows(words, table))
    assert list(found.words) == [*MANY[:place], *MANY[place + 1 :]]
    assert np.array_equal(found.table[1:], np.delete(table, place, axis=0))
    [notice] = found.notices
    assert "1 of 300 rows left out" in notice and f"vectors: word {place + 1})" in notice


def test_a_vector_of_a_binary_file_that_is_no_number_costs_its_own_row(tmp_path: Path) -> None:
    table = np.ones((300, 5), np.float32)
    table[7, 2] = np.nan
    found = read(tmp_path / "vectors", binary(MANY, table))
    assert len(found.words) == 299 and "w7" not in found.words and found.table[1:].all()
    assert "NaN or infinite" in found.notices[0]


def test_over_one_percent_of_broken_rows_is_an_error(tmp_path: Path) -> None:
    rows = text_rows()
    rows[3:6] = [b"b 1 x 3"] * 3
    assert "3 of 300 rows left out" in read(tmp_path / "vectors", b"\n".join(rows)).notices[0]
    rows[6] = b"c d 1 2 3"
    with pytest.raises(
        DataError, match=r"too many rows .* broken, got 4 of 300 \(allowed: at most 1%\)"
    ) as caught:
        read(tmp_path / "vectors", b"\n".join(rows))
    assert f"{tmp_path / 'vectors'}:7: there is a space or tab inside the word" in str(caught.value)
    assert caught.value.exit_code == 3


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\xef\xbb\xbf300 3\n" + b"\n".join(text_rows()), "byte order mark"),
        (b"\xef\xbb\xbf" + b"\n".join(text_rows()), "byte order mark"),
        (b"299 3\n" + b"\n".join(text_rows()), "announces 299 words of 3 numbers, but it holds 300 of 3"),
        (b"302 3\n" + b"\n".join(text_rows()), "announces 302 words of 3 numbers, but it holds 300 of 3"),
        (b"300 4\n" + b"\n".join(text_rows()), "announces 300 words of 4 numbers, but it holds 300 of 3"),
        (b"5 3\n" + b"\n".join(text_rows()), "announces 5 words"),
    ],
)
def test_what_is_wrong_around_the_rows_is_said(tmp_path: Path, content: bytes, said: str) -> None:
    found = read(tmp_path / "vectors", content)
    assert list(found.words) == MANY
    [notice] = found.notices
    assert said in notice and str(tmp_path / "vectors") in notice


@pytest.mark.parametrize(("count", "holds"), [(299, 300), (302, 300)])
def test_a_binary_file_is_read_to_its_end_whatever_it_counts(tmp_path: Path, count: int, holds: int) -> None:
    content = binary(MANY, np.ones((300, 5), np.float32)).replace(b"300 5", f"{count} 5".encode(), 1)
    found = read(tmp_path / "vectors", content)
    assert len(found.words) == holds
    assert f"announces {count} words of 5 numbers, but it holds {holds} of 5" in found.notices[0]


def test_bytes_behind_the_last_row_of_a_binary_file_are_said(tmp_path: Path) -> None:
    found = read(tmp_path / "vectors", binary(MANY, np.ones((300, 5), np.float32)) + b"w300 \x01\x02")
    assert list(found.words) == MANY
    assert "7 bytes at its end are not a complete row" in found.notices[0]


def test_tabs_blank_lines_and_crlf_are_no_fault(tmp_path: Path) -> None:
    content = b"300\t3\r\n" + b"\r\n\r\n".join(row.replace(b" ", b"\t") for row in text_rows()) + b" \r\n"
    found = read(tmp_path / "vectors", content)
    assert list(found.words) == MANY and found.notices == ()
    assert found.table[43].tolist() == pytest.approx([42, 0.5, -1e-3])


def test_of_a_repeated_word_the_first_row_counts(tmp_path: Path) -> None:
    found = read(tmp_path / "vectors", b"3 2\na 1 2\nb 3 4\na 5 6\n")
    assert found.words == {"a": 1, "b": 2} and found.table[1].tolist() == [1, 2]
    assert "1 of 3 rows repeat a word" in found.notices[0]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"2 3\na 1 2 3\nb 1 2\n", r"broken, got 1 of 2 .*\n.*vectors:3: it has 2 numbers instead of 3"),
        (b"a 1 2 3\nb 1 2 3 4\n", r"vectors:2: there is a space or tab inside the word"),
        (b"3 3\na 1 2 3\nb 1 2 3\n", "are truncated, .*got 2 words of 3 numbers"),
        (b"2 3\na 1 2 3\nb 1 x 3\n", "vectors:3: 'x' is not a number"),
        (b"1 2\na 1 nan\n", "NaN"),
        (b"", "have no word"),
        (b"0 5\n", "have no word"),
        (b"a\nb\n", "have no number"),
        (b"2 0\na \nb \n", "have no number"),
        (b"9 999999999999999999\n\x00\x01 \x02\x03\xff", "are truncated"),
        (binary(WORDS, TABLE)[:-30], "are truncated"),
        (binary(WORDS, TABLE).replace(b"4 5", b"4 4", 1), "vectors: word 2: the word is not UTF-8"),
        (b"\x93NUMPY\x01\x00", "a NumPy array"),
        (b"\x28\xb5\x2f\xfd", "zstd"),
        (b"\xff\xfea\x00", "UTF-16"),
        (b"<!DOCTYPE html><html>", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
    ],
)
def test_broken_files_say_where(content: bytes, says: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=says) as caught:
        read(tmp_path / "vectors", content)
    assert str(tmp_path / "vectors") in str(caught.value)


# --- compressed files ------------------------------------------------------------------------------


def zipped(members: dict[str, bytes]) -> bytes:
    with io.BytesIO() as stream:
        with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in members.items():
                archive.writestr(name, content)
        return stream.getvalue()


PACKERS = {
    "gzip": gzip.compress,
    "two gzips": lambda raw: gzip.compress(raw[:100]) + gzip.compress(raw[100:]),
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "two xz": lambda raw: lzma.compress(raw[:100]) + lzma.compress(raw[100:]) + bytes(8),
    "zip": lambda raw: zipped({"__MACOSX/._v": b"x", "a/vectors.txt": raw, "a/.DS_Store": b""}),
}


@pytest.mark.parametrize("packer", PACKERS)
@pytest.mark.parametrize("kind", ["text", "binary"])
def test_compressed_files_give_the_same(tmp_path: Path, packer: str, kind: str) -> None:
    table = np.random.default_rng(2).normal(size=(300, 5)).astype(np.float32)
    write_word_vectors(tmp_path / "plain", MANY, table)
    raw = (tmp_path / "plain").read_bytes() if kind == "text" else binary(MANY, table)
    plain = read(tmp_path / "plain", raw)
    packed = read(tmp_path / "packed.bin", PACKERS[packer](raw))  # known by its bytes, not by its name
    assert packed.words == plain.words and np.array_equal(packed.table, plain.table)
    assert packed.notices == () and packed.sha256 != plain.sha256


@pytest.mark.parametrize("packer", PACKERS)
def test_a_bomb_is_refused_while_it_unpacks(tmp_path: Path, packer: str) -> None:
    bomb = PACKERS[packer](b"a 1 2 3\n" * (3 * 2**19))
    assert len(bomb) < 2**18
    with pytest.raises(RefusedFileError, match="unpacks to far more than its size") as caught:
        read(tmp_path / "bomb", bomb)
    assert caught.value.exit_code == 5 and str(tmp_path / "bomb") in str(caught.value)


def test_an_xz_that_wants_too_much_memory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clue_runner.tokens.unpacked.XZ_MEMORY", 2**20)
    with pytest.raises(DataError, match="[Mm]emory"):
        read(tmp_path / "vectors", lzma.compress(b"a 1 2 3\n"))


def test_zips_of_several_files_or_under_a_password_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="2 files: 'a.txt', 'b.txt'"):
        read(tmp_path / "vectors", zipped({"a.txt": b"a 1 2", "b.txt": b"b 1 2"}))
    with pytest.raises(DataError, match="0 files: none"):
        read(tmp_path / "vectors", zipped({".hidden": b"a 1 2"}))
    secret = bytearray(zipped({"a.txt": b"a 1 2"}))
    secret[6] |= 1
    secret[secret.index(b"PK\x01\x02") + 8] |= 1
    with pytest.raises(DataError, match="encrypted"):
        read(tmp_path / "vectors", bytes(secret))
    with io.BytesIO() as stream:
        with tarfile.open(fileobj=stream, mode="w:gz") as archive:
            archive.addfile(tarfile.TarInfo("a.txt"), io.BytesIO())
        with pytest.raises(DataError, match="a tar archive"):
            read(tmp_path / "vectors", stream.getvalue())


@pytest.mark.parametrize("packer", [None, *PACKERS])
@pytest.mark.parametrize("kind", ["text", "binary"])
def test_mutated_files_end_in_vectors_or_in_one_message(
    tmp_path: Path, packer: str | None, kind: str
) -> None:
    path = tmp_path / "vectors"
    write_word_vectors(path, WORDS, TABLE)
    raw = path.read_bytes() if kind == "text" else binary(WORDS, TABLE)
    whole = PACKERS[packer](raw) if packer else raw
    draws = np.random.default_rng(3)
    for _ in range(150):
        mutated = bytearray(whole)
        for place in draws.integers(0, len(whole), draws.integers(1, 6)):
            mutated[place] = draws.choice([0, 9, 10, 13, 32, 48, 0xFF, draws.integers(0, 256)])
        if draws.random() < 0.3:
            del mutated[draws.integers(0, len(whole)) :]
        try:
            found = read(path, bytes(mutated))
        except ClueError as error:
            assert error.exit_code in {3, 5} and str(path) in str(error)
        else:
            assert len(found.table) >= len(found.words) and np.isfinite(found.table).all()


def test_a_pickle_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "vectors"
    path.write_bytes(pickle.dumps({"a": [1.0]}))
    with pytest.raises(RefusedFileError, match="pickle"):
        read_word_vectors(path)
    with pytest.raises(RefusedFileError, match="pickle"):
        read(path, gzip.compress(pickle.dumps({"a": [1.0]})))
    with pytest.raises(DataError, match="cannot read"):
        read_word_vectors(tmp_path / "none")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DataError, match="not a regular file"):
        read_word_vectors(tmp_path / "pipe")
