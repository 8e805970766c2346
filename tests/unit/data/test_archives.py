"""Zips built to harm are refused before a byte is read; broken ones are data errors. Nothing is unpacked."""

from __future__ import annotations

import gzip
import os
import stat
import tracemalloc
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from clue_runner.data import archives
from clue_runner.data.archives import open_archive, read_member, unpack_gzip, verify_archive
from clue_runner.data.cards import Card
from clue_runner.data.locate import open_source
from clue_runner.errors import DataError, RefusedFileError

pytestmark = pytest.mark.faults


def zip_with(path: Path, *members: tuple[zipfile.ZipInfo | str, bytes]) -> Path:
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        warnings.simplefilter("ignore")  # zipfile warns of the duplicate names that we want
        for name, content in members:
            archive.writestr(name, content)
    return path


def special(kind: int, name: str = "train.json") -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.create_system = 3
    info.external_attr = (kind | 0o777) << 16
    return info


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ([("../train.json", b"{}")], "leaves the folder"),
        ([("a/../../train.json", b"{}")], "leaves the folder"),
        ([("..\\train.json", b"{}")], "leaves the folder"),
        ([("/etc/train.json", b"{}")], "absolute path"),
        ([("C:\\train.json", b"{}")], "absolute path"),
        ([("C:/train.json", b"{}")], "absolute path"),
        ([(special(stat.S_IFLNK), b"/etc/passwd")], "link or device"),
        ([(special(stat.S_IFCHR), b"")], "link or device"),
        ([(special(stat.S_IFIFO), b"")], "link or device"),
        ([("train.json", b"{}"), ("train.json", b"[]")], "appears twice"),
        ([("train.json", b"{}"), ("Train.JSON", b"[]")], "letter case"),
        ([("train.json", b"{}"), ("__MACOSX/../../x", b"")], "leaves the folder"),
        ([("n" * 300, b"")], "too long"),
        ([("train.json", b"0" * 30_000_000)], "far more than its size"),
    ],
)
def test_a_hostile_zip_is_refused(
    members: list[tuple[zipfile.ZipInfo | str, bytes]],
    said: str,
    tmp_path: Path,
    make_card: Callable[..., Card],
) -> None:
    path = zip_with(tmp_path / "pairs.zip", *members)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(RefusedFileError, match=said) as caught:
        open_source(path, make_card())
    assert caught.value.exit_code == 5
    assert sorted(tmp_path.rglob("*")) == before


def test_too_many_members_are_refused(tmp_path: Path) -> None:
    path = zip_with(
        tmp_path / "many.zip", *((f"f{number}", b"") for number in range(archives.MAX_MEMBERS + 1))
    )
    with pytest.raises(RefusedFileError, match="too many members"):
        open_archive(path)


def test_too_large_in_all_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = zip_with(tmp_path / "large.zip", ("a.json", bytes(600)), ("b.json", bytes(600)))
    monkeypatch.setattr(archives, "MAX_TOTAL_BYTES", 1_000)
    with pytest.raises(RefusedFileError, match="too large when unpacked"):
        open_archive(path)


def test_a_member_that_lies_about_its_size_is_not_read_to_its_end(tmp_path: Path) -> None:
    path = zip_with(tmp_path / "liar.zip", ("train.json", b"0" * 50_000_000))
    raw = bytearray(path.read_bytes())
    size = (50_000_000).to_bytes(4, "little")
    while (at := raw.find(size)) >= 0:
        raw[at : at + 4] = (100).to_bytes(4, "little")
    path.write_bytes(raw)
    assert open_archive(path) == {"train.json": ("train.json",)}
    with pytest.raises(DataError, match="damaged"):
        read_member(path, "train.json")


@pytest.mark.parametrize("keep", [0, 1, 40, -1, -30])
def test_a_cut_zip_is_a_data_error(keep: int, archive: Callable[..., Path], good: dict[str, bytes]) -> None:
    path = archive(good)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DataError) as caught:
        verify_archive(path)
    assert caught.value.exit_code == 3


def test_a_flipped_byte_is_found_by_the_checksum(
    archive: Callable[..., Path], good: dict[str, bytes]
) -> None:
    path = archive(good)
    raw = bytearray(path.read_bytes())
    raw[45] ^= 0xFF
    path.write_bytes(raw)
    with pytest.raises(DataError, match="damaged"):
        verify_archive(path)


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_any_damaged_byte_is_a_data_error_with_the_path(method: int, tmp_path: Path) -> None:
    path = tmp_path / "pairs.zip"
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("train.json", bytes(range(64)) * 6)
    whole = path.read_bytes()
    refused = 0
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :])
        try:
            verify_archive(path)
        except (DataError, RefusedFileError) as error:
            refused += 1
            assert str(path) in str(error)
    assert refused > 0.5 * len(whole)  # times and flags of the directory may change without harm


def test_a_pipe_is_no_zip(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pairs.zip")
    with pytest.raises(DataError, match="not a regular file, got a named pipe"):
        open_archive(tmp_path / "pairs.zip")


def test_a_gzip_bomb_is_refused_and_not_unpacked() -> None:
    bomb = gzip.compress(bytes(60_000_000))
    tracemalloc.start()
    with pytest.raises(
        RefusedFileError, match=r"q\.json\.gz: the gzip file unpacks to far more than its size"
    ) as caught:
        unpack_gzip(bomb, "q.json.gz")
    assert tracemalloc.get_traced_memory()[1] < 45_000_000
    tracemalloc.stop()
    assert caught.value.exit_code == 5


def test_a_gzip_that_packs_well_is_read() -> None:
    text = b"".join(b'{"id": %d, "question": "?"}\n' % number for number in range(50_000))
    assert unpack_gzip(gzip.compress(text), "q.json.gz") == text
    assert unpack_gzip(gzip.compress(b"a") + gzip.compress(b"b"), "two members") == b"ab"
    for cut in (gzip.compress(text)[:-9], gzip.compress(text)[:100], b"\x1f\x8b\x08"):
        with pytest.raises(DataError, match=r"q\.json\.gz: the gzip file is damaged"):
            unpack_gzip(cut, "q.json.gz")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"<html>404</html>", "a web page"),
        (b'{"a": 1}\n', "a JSON file"),
        (b"", "an empty file"),
        (b"\x00\x01", "something else"),
        (b"PK\x03\x04rest", "damaged or truncated"),
    ],
)
def test_what_is_no_zip_is_named(content: bytes, said: str, tmp_path: Path) -> None:
    path = tmp_path / "pairs.zip"
    path.write_bytes(content)
    with pytest.raises(DataError, match=said):
        open_archive(path)


def test_an_encrypted_member_is_said(archive: Callable[..., Path]) -> None:
    path = archive({"train.json": b"{}"})
    raw = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        raw[raw.find(signature) + offset] |= 1
    path.write_bytes(raw)
    with pytest.raises(DataError, match="encrypted"):
        read_member(path, "train.json")
