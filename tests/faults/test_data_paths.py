"""Paths are bytes: undecodable and over-long names, pipes, other locales; a message and no traceback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.faults

LOCALES = {
    "C": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    "POSIX": {"LC_ALL": "POSIX"},
}
UNDECODABLE = os.fsdecode(b"\xff\xb2\xe2.csv")
TABLE = "text,label\n" + "".join(f"第{number}句,{number % 2}\n" for number in range(40))


def run(folder: Path, locale: str, *arguments: str | bytes) -> subprocess.CompletedProcess[bytes]:
    """Run the command in a process of its own, since a locale is fixed when Python starts."""
    environment = {**os.environ, **LOCALES[locale], "CLUE_HOME": str(folder / "home"), "CLUE_OFFLINE": "1"}
    command = [sys.executable, "-m", "clue_runner", *arguments]
    return subprocess.run(
        command, capture_output=True, env=environment, cwd=Path(__file__).parents[2], timeout=60, check=False
    )


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("paths")


@pytest.mark.parametrize(
    ("locale", "name"), [("C", "测试 [1]*.csv"), ("C", UNDECODABLE), ("POSIX", UNDECODABLE)]
)
def test_a_task_is_made_from_any_path(locale: str, name: str, home: Path) -> None:
    folder = home / f"{locale}-{len(os.fsencode(name))}"
    folder.mkdir()
    source = os.fsencode(folder / name)
    Path(os.fsdecode(source)).write_bytes(TABLE.encode())
    made = run(folder, locale, "tasks", "new", os.fsencode(folder / "任务"), "--from", source, "--json")
    assert made.returncode == 0, made.stderr
    result = json.loads(made.stdout.decode("utf-8").strip().split("\n")[-1])
    assert result["counts"] == {"train": 32, "dev": 4, "test": 4}
    checked = run(folder, locale, "data", "check", os.fsencode(folder / "任务"))
    assert checked.returncode == 0, checked.stderr


def test_a_folder_with_undecodable_names_is_listed(home: Path) -> None:
    folder = home / "listed"
    folder.mkdir()
    Path(os.fsdecode(os.fsencode(folder) + b"/\xff.json")).write_bytes(b"{}")
    (folder / "训练.json").write_bytes(b"{}")
    done = run(folder, "C", "data", "check", "afqmc", "--from", os.fsencode(folder), "--json")
    assert done.returncode == 3 and b"Traceback" not in done.stderr
    assert b"no file train.json or dev.json or test.json found" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "exit_code"),
    [
        (["data", "check", "afqmc", "--from", "n" * 300], 3),
        (["data", "check", "afqmc", "--from", "~nobody-here/x"], 3),
        (["tasks", "show", "./" + "n" * 300], 3),
        (["tasks", "show", "~nobody-here/x"], 3),
        (["tasks", "new", "n" * 300, "--from", "x.csv"], 3),
        (["tasks", "new", "mine", "--from", "n" * 300], 3),
        (["data", "convert", "afqmc", "--from", "~nobody-here/x", "--output", "out"], 3),
        (["data", "convert", "afqmc", "--from", "README.md", "--output", "~nobody-here/x"], 3),
        (["data", "get", "afqmc", "--from", "n" * 300], 3),
    ],
)
def test_a_path_that_cannot_be_is_a_message(
    arguments: list[str], exit_code: int, clue: Callable[..., Any]
) -> None:
    done = clue(*arguments)
    assert done.exit_code == exit_code, done.stderr
    assert "Traceback" not in done.stderr and "bug" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "exit_code"),
    [(["data", "check", b"./\xff"], 2), (["tasks", "new", "mine", "--from", b"\xff.csv"], 3)],
)
def test_an_undecodable_path_that_is_missing(
    arguments: list[str | bytes], exit_code: int, home: Path
) -> None:
    done = run(home, "C", *arguments)
    assert done.returncode == exit_code, done.stderr
    assert b"Traceback" not in done.stderr and b"bug" not in done.stderr and b"udcff" in done.stderr


def test_a_pipe_where_a_file_is_wanted_does_not_hang(clue: Callable[..., Any], tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for arguments in (
        ("data", "check", "afqmc", "--from", tmp_path / "pipe"),
        ("data", "check", "webqa", "--from", tmp_path / "pipe"),
        ("data", "get", "afqmc", "--from", tmp_path / "pipe"),
        ("data", "convert", "afqmc", "--from", tmp_path / "pipe", "--output", tmp_path / "out"),
        ("data", "convert", "webqa", "--from", tmp_path / "pipe", "--output", tmp_path / "out"),
        ("tasks", "new", tmp_path / "mine", "--from", tmp_path / "pipe"),
    ):
        done = clue(*arguments)
        assert done.exit_code == 3 and "not a regular file, got a named pipe" in done.stderr, arguments
