"""Failures inside a run: each has its exit code and message, and none costs a saved state."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clue_runner.files import atomic as storage
from clue_runner.runs import saving, snapshots
from clue_runner.runs.events import Save, read_events
from clue_runner.runs.folder import RunFolder
from clue_runner.runs.snapshots import LAST, list_snapshots, pointed
from clue_runner.runs.states import read_snapshot
from clue_runner.training.evaluation import Predictor

pytestmark = pytest.mark.faults
Train = Callable[..., Any]


def flip(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(raw)


def saved_steps(folder: RunFolder) -> list[int]:
    return [event.step for event in read_events(folder.events) if isinstance(event, Save)]


def test_not_a_number(tmp_path: Path, train_here: Train) -> None:
    outcome = train_here(tmp_path / "r", train__learning_rate=1e20, train__warmup_ratio=0)
    assert outcome.exit_code == 6
    assert "step " in outcome.stderr
    assert "last finite loss" in outcome.stderr
    assert "train.learning_rate" in outcome.stderr
    metrics = json.loads((tmp_path / "r" / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["ok"] is False
    assert metrics["score"] is None
    assert metrics["error"]["exit_code"] == 6
    for snapshot in list_snapshots(tmp_path / "r" / "checkpoints"):
        for values in read_snapshot(snapshot).tensors().values():
            assert abs(values).max() < 1e30


def test_corrupt_states(tmp_path: Path, train_here: Train) -> None:
    """The newest is damaged: a warning and the older one; all are: exit 4 and nothing is lost."""
    folder = RunFolder(tmp_path / "r")
    assert train_here(folder.path).exit_code == 0
    finished = folder.metrics.read_bytes()
    folder.metrics.unlink()
    newest, *older = list_snapshots(folder.checkpoints)
    flip(newest / "optimizer.safetensors")
    outcome = train_here(folder.path)
    assert outcome.exit_code == 0
    assert "optimizer.safetensors" in outcome.stderr
    assert "falling back" in outcome.stderr
    again = json.loads(folder.metrics.read_text(encoding="utf-8"))
    assert again["history"] == json.loads(finished)["history"]
    assert again["scores"] == json.loads(finished)["scores"]

    folder.metrics.unlink()
    for snapshot in list_snapshots(folder.checkpoints):
        flip(snapshot / "weights.safetensors")
    outcome = train_here(folder.path)
    assert outcome.exit_code == 4
    assert "--fresh" in outcome.stderr
    assert not folder.metrics.exists()
    outcome = train_here(folder.path)
    assert outcome.exit_code == 4


@pytest.mark.parametrize("number", [2, -1], ids=["in the loop", "at the end"])
def test_full_disk_in_a_save(
    tmp_path: Path, train_here: Train, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """In the thread, in the second save or in the last one, which is written while test is answered."""
    whole, folder = RunFolder(tmp_path / "whole"), RunFolder(tmp_path / "r")
    assert train_here(whole.path).exit_code == 0
    steps = saved_steps(whole)
    assert len(steps) > 3
    at = steps[number - 1] if number > 0 else steps[number]
    real, saved = saving.write_snapshot, []

    def fill(root: Path, tensors: Any, state: Any, **options: Any) -> Path:
        saved.append(state.progress.step)
        if saved[-1] == at:

            def refuse(*_: Any) -> None:
                raise OSError(errno.ENOSPC, "No space left on device")

            disk.setattr(snapshots, "write_synced", refuse)
        return real(root, tensors, state, **options)

    with monkeypatch.context() as disk:
        disk.setattr(saving, "write_snapshot", fill)
        outcome = train_here(folder.path)
    assert outcome.exit_code == 8
    assert "No space left on device" in outcome.stderr
    assert str(folder.checkpoints / f"step-{at}") in outcome.stderr
    good = steps[steps.index(at) - 1]
    assert saved[-2:] == [good, at]  # nothing is saved after it
    found = list_snapshots(folder.checkpoints)
    assert found[0].name == f"step-{good}"
    assert [read_snapshot(path).folder for path in found] == found
    assert pointed(folder.checkpoints, LAST) == found[0]
    assert not list(folder.checkpoints.glob(".*"))
    assert saved_steps(folder) == steps[: steps.index(at)]
    metrics = json.loads(folder.metrics.read_text(encoding="utf-8"))
    assert (metrics["ok"], metrics["score"]) == (False, None)
    outcome = train_here(folder.path)
    assert outcome.exit_code == 0
    assert "resuming" in outcome.stdout
    again = json.loads(folder.metrics.read_text(encoding="utf-8"))
    assert again["history"] == json.loads(whole.metrics.read_bytes())["history"]


def test_out_of_memory(tmp_path: Path, train_here: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    def exhaust(*_: Any, **__: Any) -> None:
        raise RuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 123 bytes.")

    monkeypatch.setattr(Predictor, "answer", exhaust)
    outcome = train_here(tmp_path / "r")
    assert outcome.exit_code == 7
    assert "one example of" in outcome.stderr and "clue memory shows what fits" in outcome.stderr


def test_our_own_bug_is_exit_1_and_leaves_no_score(
    tmp_path: Path, train_here: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stumble(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(Predictor, "answer", stumble)
    outcome = train_here(tmp_path / "r")
    assert outcome.exit_code == 1
    assert "report" in outcome.stderr
    metrics = json.loads((tmp_path / "r" / "metrics.json").read_text(encoding="utf-8"))
    assert (metrics["ok"], metrics["score"], metrics["error"]["type"]) == (False, None, "ZeroDivisionError")


def test_refused_result_file(tmp_path: Path, train_here: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last write fails: the run has not ended, and the same command ends it without training again."""
    from clue_runner.training import finish

    def refuse(path: Path, content: object) -> None:
        raise storage.storage_error(OSError(errno.EDQUOT, "Disk quota exceeded"), path)

    with monkeypatch.context() as disk:
        disk.setattr(finish, "write_result", refuse)
        outcome = train_here(tmp_path / "r")
    assert outcome.exit_code == 8
    assert "metrics.json" in outcome.stderr
    outcome = train_here(tmp_path / "r")
    assert outcome.exit_code == 0
    assert "after training" in outcome.stdout
