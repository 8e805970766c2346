from __future__ import annotations

import errno
import json
import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from clue_runner.errors import StorageError
from clue_runner.files.atomic import probe_folder, sha256_file, write_atomic, write_json


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_write_replaces_and_leaves_nothing_beside(tmp_path: Path) -> None:
    target = tmp_path / "结果 ☃.json"
    write_atomic(target, b"old")
    write_atomic(target, b"new")
    assert target.read_bytes() == b"new"
    assert names(tmp_path) == [target.name]


@pytest.mark.parametrize("broken", ["fsync", "replace"])
def test_a_refused_write_keeps_the_old_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    target = tmp_path / "metrics.json"
    write_atomic(target, b"old")

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=42))
    monkeypatch.setattr(*((os, "fsync") if broken == "fsync" else (Path, "replace")), refuse)
    with pytest.raises(StorageError) as caught:
        write_atomic(target, b"new")
    assert caught.value.exit_code == 8
    assert str(target) in str(caught.value)
    assert "No space left" in str(caught.value)
    assert "3 bytes to write, 42 free on the disk" in str(caught.value)
    monkeypatch.undo()
    assert target.read_bytes() == b"old"
    assert names(tmp_path) == ["metrics.json"]


def test_files_are_readable_by_others(tmp_path: Path) -> None:
    write_atomic(tmp_path / "f", b"")
    mask = os.umask(0)
    os.umask(mask)
    assert (tmp_path / "f").stat().st_mode & 0o777 == 0o666 & ~mask


def test_json_is_utf8_with_a_last_newline_and_no_nan(tmp_path: Path) -> None:
    write_json(tmp_path / "m.json", {"名": 1.5})
    raw = (tmp_path / "m.json").read_bytes()
    assert raw.endswith(b"}\n")
    assert "名".encode() in raw
    assert json.loads(raw) == {"名": 1.5}
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "m.json", {"score": float("nan")})


def test_names_of_any_bytes_come_back(tmp_path: Path) -> None:
    content = {"path": os.fsdecode(b"/data/\xc8\xcb"), "名": "值\u2028"}
    write_json(tmp_path / "m.json", content)
    assert json.loads((tmp_path / "m.json").read_bytes()) == content


def test_probe_makes_the_folder_and_says_what_stands_in_the_way(tmp_path: Path) -> None:
    probe_folder(tmp_path / "a" / "b")
    assert names(tmp_path / "a" / "b") == []
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(StorageError, match="file") as caught:
        probe_folder(tmp_path / "file" / "run")
    assert "--output" in str(caught.value)


def test_sha256(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"abc")
    assert sha256_file(tmp_path / "f").startswith("ba7816bf8f01cfea")
