"""Names from files become paths: plain ones alone; and only regular files are opened."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from clue_runner.errors import CheckpointError, DataError, StorageError
from clue_runner.files.names import name_fault, open_regular, read_regular, user_path

PLAIN = [
    "train.json",
    "训练 数据.json",
    "test1.1.json",
    "a-b_c.txt",
    "console.json",
    "com10",
    "é.json",
    "n" * 100,
]
REFUSED = [
    ("", "empty"),
    ("..", '".."'),
    ("a..b", '".."'),
    ("../train.json", '"/"'),
    ("/etc/passwd", '"/"'),
    ("..\\train.json", '"\\"'),
    ("C:train.json", '":"'),
    ("a\x00b", "U+0000"),
    ("a\nb", "U+000A"),
    ("a\x1b[31mb", "U+001B"),
    ("a\u202eb", "U+202E"),
    ("\udcff.json", "U+DCFF"),
    ("train.json*", '"*"'),
    ("-rf", "dash"),
    ("train.json.", "dot"),
    ("train.json ", "space"),
    ("n" * 101, "100 characters"),
    ("数" * 70, "200 bytes"),
    ("CON", "reserved"),
    ("nul.json", "reserved"),
    ("Com1.tar.gz", "reserved"),
    (".hidden", "litter"),
    ("train.json~", "litter"),
    ("Thumbs.db", "litter"),
]


@pytest.mark.parametrize("name", PLAIN)
def test_a_plain_name(name: str) -> None:
    assert name_fault(name) is None


@pytest.mark.parametrize(("name", "said"), REFUSED, ids=[ascii(name)[:20] for name, _ in REFUSED])
def test_what_is_no_plain_name(name: str, said: str) -> None:
    assert said in str(name_fault(name))


def test_a_regular_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "real.json").write_bytes(b"{}")
    (tmp_path / "link.json").symlink_to(tmp_path / "real.json")
    assert read_regular(tmp_path / "real.json") == read_regular(tmp_path / "link.json") == b"{}"


def test_a_pipe_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "train.json")
    with pytest.raises(DataError, match="not a regular file, got a named pipe"):
        open_regular(tmp_path / "train.json")


def test_a_device_is_refused(tmp_path: Path) -> None:
    (tmp_path / "weights").symlink_to("/dev/zero")
    with pytest.raises(CheckpointError, match="not a regular file, got a device"):
        read_regular(tmp_path / "weights", error_type=CheckpointError)


def test_a_socket_and_a_folder_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # a socket's path is short
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("s")
        with pytest.raises(DataError, match="s: cannot read the file"):
            read_regular(Path("s"))
    with pytest.raises(DataError, match="a folder"):
        read_regular(tmp_path)


@pytest.mark.parametrize("name", ["missing.json", "n" * 300, "a\x00b"])
def test_no_such_file(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataError):
        read_regular(tmp_path / name)


def test_what_cannot_be_read_now_says_nothing_about_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", denied)
    with pytest.raises(StorageError, match="permission denied"):
        read_regular(tmp_path / "train.json")


def test_no_descriptor_is_left_open(tmp_path: Path) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(20):
        with pytest.raises(DataError):
            open_regular(tmp_path)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


@pytest.mark.parametrize("text", ["~nobody-of-this-name/x", "a\x00b", "n" * 300])
def test_a_path_that_no_system_has(text: str) -> None:
    with pytest.raises(DataError):
        user_path(text)


def test_a_home_that_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    with pytest.raises(DataError, match="write the path without ~"):
        user_path("~/data")


def test_a_users_path_may_be_undecodable_or_missing(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"\xff\xfe.json")
    assert user_path(path) == path
    path.write_bytes(b"{}")
    assert read_regular(user_path(str(path))) == b"{}"
