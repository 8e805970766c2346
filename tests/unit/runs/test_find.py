"""Runs below a folder, and what a named one holds."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import clue_runner
from clue_runner.adapters.sections import SECTIONS
from clue_runner.config.schema import Run
from clue_runner.errors import CheckpointError, DataError
from clue_runner.runs.find import finished_runs, load_result, load_run, newest_finished, submission_folders
from clue_runner.runs.folder import RunFolder, write_settings
from clue_runner.runs.results import write_result

Put = Callable[..., Path]


@pytest.fixture
def put(tmp_path: Path, make_run: Callable[..., Run], make_result: Callable[..., Any]) -> Put:
    def make(name: str, age: float, **fields: Any) -> Path:
        folder = RunFolder(tmp_path / name)
        folder.submission.mkdir(parents=True)
        (folder.submission / "afqmc_predict.json").write_text(f'{{"from": "{name}"}}\n', encoding="utf-8")
        write_settings(folder, make_run(), SECTIONS)
        write_result(folder.metrics, make_result(**fields))
        for path in (folder.metrics, folder.submission / "afqmc_predict.json"):
            os.utime(path, (time.time() - age, time.time() - age))
        return folder.path

    return make


FAILED: dict[str, Any] = {"ok": False, "score": None}


def test_the_newest_finished_run_of_a_task(tmp_path: Path, put: Put) -> None:
    with pytest.raises(CheckpointError, match="clue train --task NAME"):
        newest_finished(tmp_path, None)
    put("afqmc/a", 50)
    put("afqmc/b", 30)
    put("afqmc/b.old-1", 20)
    put("afqmc/set.old-2/seed-1", 15)
    put("afqmc/failed", 10, **FAILED)
    put("tnews/seeds/seed-1", 5, task="tnews")
    assert newest_finished(tmp_path, "afqmc").folder.path == tmp_path / "afqmc" / "b"
    assert newest_finished(tmp_path).folder.path == tmp_path / "tnews" / "seeds" / "seed-1"
    assert [run.folder.path.name for run in finished_runs(tmp_path)] == ["seed-1", "b", "a"]
    assert [run.result.task for run in finished_runs(tmp_path)] == ["tnews", "afqmc", "afqmc"]
    with pytest.raises(CheckpointError, match="of cmnli"):
        newest_finished(tmp_path, "cmnli")
    assert finished_runs(tmp_path / "absent") == []


def test_a_set_aside_folder_is_found_by_its_own_name_alone(tmp_path: Path, put: Put) -> None:
    old = put("afqmc/b.old-1", 20)
    assert finished_runs(tmp_path) == []
    assert [run.folder.path for run in finished_runs(old)] == [old]


def test_a_damaged_result_is_passed_over_and_said(tmp_path: Path, put: Put) -> None:
    put("afqmc/good", 50)
    for name, raw in (("cut", b"{"), ("latin", b"\xff"), ("list", b"[]"), ("typed", b'{"ok": true}')):
        (put(f"afqmc/{name}", 5) / "metrics.json").write_bytes(raw)
    (put("afqmc/folder", 5) / "metrics.json").unlink()
    (tmp_path / "afqmc" / "folder" / "metrics.json").mkdir()
    warned: list[str] = []
    assert newest_finished(tmp_path, None, warn=warned.append).folder.path == tmp_path / "afqmc" / "good"
    assert len(warned) == 5
    assert all("metrics.json" in text for text in warned)


def test_results_without_settings_are_no_run(tmp_path: Path, put: Put) -> None:
    (put("afqmc/a", 5) / "run.yaml").unlink()
    assert finished_runs(tmp_path) == []


def test_submissions_of_folders_set_aside_are_not_packed(tmp_path: Path, put: Put) -> None:
    put("afqmc/a", 50)
    put("afqmc/a.old-1", 5)
    assert submission_folders(tmp_path) == [tmp_path / "afqmc" / "a" / "submission"]


def test_answers_beside_a_run_are_found_too(tmp_path: Path, put: Put) -> None:
    """A borrowed head and an ensemble write folders that hold no run."""
    run = put("cmnli/a", 50)
    for place in (run / "diagnostics" / "submission", tmp_path / "cmnli" / "ensemble" / "submission"):
        place.mkdir(parents=True)
        assert place in submission_folders(tmp_path)


def test_a_run_by_its_path(tmp_path: Path, put: Put, make_run: Callable[..., Run]) -> None:
    path = put("afqmc/a b", 5)
    assert load_run(path, SECTIONS) == clue_runner.load_run(str(path)) == make_run()
    assert load_result(path) == clue_runner.load_result(str(path))
    assert load_result(path).scored.score == 74.1
    with pytest.raises(DataError, match="no such run folder"):
        load_run(tmp_path / "absent", SECTIONS)
    with pytest.raises(CheckpointError, match="no run in this folder"):
        load_run(tmp_path, SECTIONS)
    (path / "metrics.json").unlink()
    with pytest.raises(CheckpointError, match="no run in this folder has finished"):
        load_result(path)


@pytest.mark.parametrize(
    "content",
    [b"seed: [", b"\xff", b"seed: 1\n", b"seed: x\n", b""],
    ids=["cut", "bytes", "part", "type", "empty"],
)
def test_damaged_settings_are_named(tmp_path: Path, put: Put, content: bytes) -> None:
    path = put("afqmc/a", 5)
    (path / "run.yaml").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"run\.yaml"):
        load_run(path, SECTIONS)


@pytest.mark.parametrize(
    "content", [b"", b"\xff", b"step-", b"step-1\nstep-2", b"../../etc", b"step-9", b"x" * 300]
)
def test_a_damaged_pointer_to_the_best_state_is_named(tmp_path: Path, put: Put, content: bytes) -> None:
    folder = RunFolder(put("afqmc/a", 5))
    assert folder.best_state() is None
    (folder.checkpoints / "step-8").mkdir(parents=True)
    (folder.checkpoints / "best").write_bytes(b"step-8\n")
    assert folder.best_state() == folder.checkpoints / "step-8"
    (folder.checkpoints / "best").write_bytes(content)
    with pytest.raises(CheckpointError, match="best"):
        folder.best_state()
    (folder.checkpoints / "best").unlink()
    (folder.checkpoints / "best").mkdir()
    with pytest.raises(CheckpointError, match="a folder"):
        folder.best_state()


def test_what_is_written_is_plain_json(put: Put) -> None:
    assert json.loads((put("afqmc/a", 5) / "metrics.json").read_bytes())["task"] == "afqmc"
