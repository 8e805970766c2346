"""``clue data get|check|stats``: exit codes, messages, JSON, and nothing heavy loaded."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clue_runner.data.cards import find_card

Clue = Callable[..., Any]


@pytest.fixture
def sample_zip(tmp_path: Path) -> Path:
    """The AFQMC sample as a zip in the official layout: right members, other counts."""
    path = tmp_path / "afqmc_public.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted((find_card("afqmc").folder / "sample").iterdir()):
            archive.write(file, f"afqmc_public/{file.name}")
    return path


def last_event(stdout: str) -> dict[str, Any]:
    event: dict[str, Any] = json.loads(stdout.strip().split("\n")[-1])
    return event


def test_check_of_the_sample(clue: Clue) -> None:
    done = clue("data", "check", "afqmc", "--from", "sample")
    assert done.exit_code == 0 and "afqmc: complete, 0 warnings, from sample" in done.stdout


def test_check_as_json(clue: Clue, sample_zip: Path) -> None:
    done = clue("data", "check", "afqmc", "--from", sample_zip, "--json")
    result = last_event(done.stdout)
    assert done.exit_code == 0
    assert result["ok"] and not result["data_complete"] and result["counts"]["train"]["records"] == 1024
    assert (
        f"{sample_zip}:afqmc_public/train.json has 1,024 records, the official file has 34,334"
        in result["warnings"]
    )
    for line in done.stdout.strip().split("\n"):
        json.loads(line)


def test_check_names_bad_lines(clue: Clue, tmp_path: Path) -> None:
    for name in ("train", "dev", "test"):
        (tmp_path / f"{name}.json").write_text('{"sentence1": "甲"}\n', encoding="utf-8")
    done = clue("data", "check", "afqmc", "--from", tmp_path, "--json")
    assert done.exit_code == 3
    assert "train.json:1: no key 'label'" in done.stderr and "Traceback" not in done.stderr
    assert last_event(done.stdout)["exit_code"] == 3


@pytest.mark.parametrize(
    ("arguments", "exit_code", "said"),
    [
        (["check", "afqmcc"], 2, "did you mean afqmc"),
        (["check", "afqmc", "--from", "nowhere"], 3, "no such file or folder"),
        (["check", "afqmc"], 3, "clue data get afqmc"),
        (["stats", "afqmc"], 3, "--data PATH"),
        (["get", "afqmc", "--offline"], 3, "downloads are disabled"),
        (["get", "afqmc", "--from", "nowhere.zip"], 3, "no such file"),
    ],
)
def test_mistakes(arguments: list[str], exit_code: int, said: str, clue: Clue) -> None:
    done = clue("data", *arguments)
    assert done.exit_code == exit_code and said in done.stderr and "Traceback" not in done.stderr


def test_a_hostile_zip_exits_5(clue: Clue, tmp_path: Path) -> None:
    path = tmp_path / "afqmc_public.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("../train.json", "{}")
    assert clue("data", "get", "afqmc", "--from", path).exit_code == 5
    assert not (tmp_path.parent / "train.json").exists()


def test_get_from_disk_fills_the_cache_that_check_and_stats_use(
    clue: Clue, clue_home: Path, sample_zip: Path
) -> None:
    done = clue("data", "get", "afqmc", "--from", sample_zip, "--json")
    kept = clue_home / "data" / "afqmc" / "afqmc_public.zip"
    assert done.exit_code == 0 and last_event(done.stdout)["path"] == str(kept)
    assert kept.read_bytes() == sample_zip.read_bytes()
    assert clue("data", "check", "afqmc").exit_code == 0
    stats = last_event(clue("data", "stats", "afqmc", "--json").stdout)
    assert stats["splits"]["dev"]["usable"] == 256 and 50 < stats["splits"]["dev"]["chance"] < 60


def test_stats_prints_lengths_and_labels(clue: Clue) -> None:
    done = clue("data", "stats", "cluewsc2020", "--from", "sample")
    assert done.exit_code == 0
    assert "median characters" in done.stdout and "refers to it" in done.stdout and "test1.0" in done.stdout


def test_nothing_heavy_is_loaded() -> None:
    code = (
        "import sys; from clue_runner.cli.main import run; "
        "assert run(['data', 'check', 'csl', '--from', 'sample']) == 0; "
        "print(sorted({'tensorflow', 'keras', 'jax', 'sklearn', 'torch'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, encoding="utf-8", check=True
    )
    assert done.stdout.strip().split("\n")[-1] == "[]"


@pytest.mark.parametrize(
    ("arguments", "given"),
    [
        (("train", "--task", "afqmc", "--data"), "folder"),
        (("train", "--task", "afqmc", "--data"), "folder/train.csv"),
        (("data", "check", "afqmc", "--from"), "folder"),
        (("data", "check", "afqmc", "--from"), "folder/train.csv"),
    ],
)
def test_a_table_is_told_how_it_becomes_data(
    clue: Clue, tmp_path: Path, arguments: tuple[str, ...], given: str
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "train.csv").write_text("text,label\n好,1\n坏,0\n", encoding="utf-8")
    outcome = clue(*arguments, tmp_path / given)
    assert outcome.exit_code == 3
    for command in ("clue data convert NAME", "clue tasks new NEW"):
        assert f"{command} --from {folder / 'train.csv'}" in outcome.stderr
    assert "--data" not in outcome.stderr


def test_no_command_advises_an_option_that_it_lacks(clue: Clue, tmp_path: Path) -> None:
    """``--data`` is an option of train and predict, ``--from`` of the commands that look at files."""
    other = tmp_path / "other.zip"
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr("a.txt", "b")
    web = tmp_path / "web.zip"
    web.write_text("<html></html>", encoding="utf-8")
    for command in (("data", "check", "afqmc"), ("data", "get", "afqmc"), ("tasks", "new", tmp_path / "new")):
        for path in (other, web, tmp_path / "absent"):
            outcome = clue(*command, "--from", path)
            assert outcome.exit_code == 3, outcome.stderr
            assert "--data" not in outcome.stderr.replace("clue train --data", "")
