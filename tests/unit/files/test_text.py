"""Text of user's files: gzip within bounds, encodings, and what a terminal may not see."""

from __future__ import annotations

import gzip
import os
import zlib
from pathlib import Path

import pytest

from clue_runner.errors import ClueError, DataError, RefusedFileError
from clue_runner.files import text
from clue_runner.files.text import printable, read_text, unpack


def test_text_is_read_packed_or_not_with_or_without_a_mark(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    for raw in ("甲\n".encode(), "\ufeff甲\n".encode(), gzip.compress("甲\n".encode())):
        path.write_bytes(raw)
        assert read_text(path) == "甲\n"


def test_other_encodings_are_named_with_their_line(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"a\nb\n" + "甲".encode("gb18030"))
    with pytest.raises(DataError, match=r"a.txt:3: the file is not UTF-8, got b'\\xbc"):
        read_text(path)


PACKED = gzip.compress(b"0123456789" * 1000, mtime=0)


@pytest.mark.parametrize(
    "raw",
    [
        PACKED[:-9],
        PACKED[:12],
        PACKED[:40] + b"\xff" * 20 + PACKED[60:],
        b"\x1f\x8b",
        b"\x1f\x8b\x08" + b"\xff" * 30,
    ],
)
def test_a_damaged_gzip_is_one_error_with_the_path(tmp_path: Path, raw: bytes) -> None:
    path = tmp_path / "a.gz"
    path.write_bytes(raw)
    with pytest.raises(DataError, match=r"a.gz: the gzip is damaged"):
        read_text(path)


def test_whatever_the_library_says_of_a_gzip_has_a_path(monkeypatch: pytest.MonkeyPatch) -> None:
    for error in (zlib.error("-3"), EOFError("end"), OSError("no")):

        class Broken:
            def __init__(self, **given: object) -> None:
                raise error  # noqa: B023

        monkeypatch.setattr(text.gzip, "GzipFile", Broken)
        with pytest.raises(DataError, match="x.gz: the gzip is damaged"):
            unpack(PACKED, "x.gz")


def test_a_gzip_that_unpacks_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text, "UNPACKED_FLOOR", 1 << 20)
    bomb = gzip.compress(bytes(8 << 20), mtime=0)
    with pytest.raises(RefusedFileError, match="unpacks to far more than its size") as caught:
        unpack(bomb, "x.gz")
    assert caught.value.exit_code == 5
    assert unpack(bomb, "x.gz", limit=100) == bytes(100)
    assert unpack(gzip.compress(bytes(1000)), "x.gz") == bytes(1000)  # small files may pack as they like


def test_only_regular_files_are_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, Path("/dev/zero"), tmp_path / "none", tmp_path / "x" / "y"):
        with pytest.raises(ClueError) as caught:
            read_text(path)
        assert caught.value.exit_code == 3 and str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("甲 a", "甲 a"),
        ("\x1b[31m", "\\x1b[31m"),
        ("a\nb\tc\r", "a\\nb\\tc\\r"),
        ("\x9b31m", "\\x9b31m"),
        ("\u202eevil", "\\u202eevil"),
        ("\ud800", "\\ud800"),
        ("\U000e0001", "\\U000e0001"),
    ],
)
def test_control_characters_are_escaped(given: str, shown: str) -> None:
    assert printable(given) == shown
    assert printable("x" * 100, 10) == "xxxxxxx..."
