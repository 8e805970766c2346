from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clue_runner.errors import CheckpointError, StorageError
from clue_runner.files import atomic as storage
from clue_runner.runs import snapshots
from clue_runner.runs.progress import Progress
from clue_runner.runs.machine import machine_differences
from clue_runner.runs.resume import newest_state
from clue_runner.runs.snapshots import (
    list_snapshots,
    point,
    pointed,
    prune,
    read_snapshot,
    sign,
    sweep,
    write_snapshot,
)

State = dict[str, Any]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def state_at(step: int, best: int | None = None) -> State:
    return {"progress": Progress(step=step, best_step=best).to_json()}


def test_a_state_comes_back_bit_for_bit(root: Path, tensors: State, snapshot_state: State) -> None:
    folder = write_snapshot(
        root, 3, tensors, snapshot_state, header={"vocab_size": 7}, files={"vocab.txt": b"[PAD]\n"}
    )
    assert names(folder) == [
        "ema.safetensors",
        "manifest.json",
        "optimizer.safetensors",
        "state.json",
        "vocab.txt",
        "weights.safetensors",
    ]
    snapshot = read_snapshot(folder)
    assert snapshot.step == 3
    assert snapshot.state == snapshot_state
    found = snapshot.tensors()
    assert found.keys() == tensors.keys()
    for name, value in tensors.items():
        assert found[name].dtype == value.dtype
        assert found[name].shape == value.shape
        assert found[name].tobytes() == value.tobytes()
    assert names(root) == ["step-3"]


def test_progress_survives_json_bit_for_bit() -> None:
    progress = Progress(step=7, best_score=100 / 3, loss_sum=0.1 + 0.2, history=[{"score": 1 / 3}])
    assert Progress.from_json(json.loads(json.dumps(progress.to_json()))) == progress
    with pytest.raises(CheckpointError, match="another version"):
        Progress.from_json({"step": 1})


def flip(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)


def forget_hash(path: Path) -> None:
    manifest = json.loads(path.read_text(encoding="utf-8"))
    del manifest["files"]["state.json"]["sha256"]
    path.write_text(json.dumps(manifest), encoding="utf-8")


DAMAGES: dict[str, tuple[str, Callable[[Path], None]]] = {
    "bit flipped in weights": ("weights.safetensors", flip),
    "bit flipped in optimizer": ("optimizer.safetensors", flip),
    "bit flipped in state": ("state.json", flip),
    "emptied": ("weights.safetensors", lambda path: path.write_bytes(b"")),
    "cut in half": (
        "weights.safetensors",
        lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    ),
    "last byte gone": ("state.json", lambda path: path.write_bytes(path.read_bytes()[:-1])),
    "deleted": ("ema.safetensors", Path.unlink),
    "swapped": ("ema.safetensors", lambda path: shutil.copy(path.with_name("optimizer.safetensors"), path)),
    "manifest missing": ("manifest.json", Path.unlink),
    "manifest not JSON": ("manifest.json", lambda path: path.write_bytes(b"\xff{")),
    "hash field missing": ("manifest.json", forget_hash),
    "manifest of another schema": (
        "manifest.json",
        lambda path: path.write_text('{"schema": 2}', encoding="utf-8"),
    ),
    "manifest lists nothing": (
        "manifest.json",
        lambda path: path.write_text('{"schema": 1, "files": {}}', encoding="utf-8"),
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_state_is_named_and_the_older_one_taken(root: Path, tensors: State, damage: str) -> None:
    write_snapshot(root, 1, tensors, state_at(1))
    newest = write_snapshot(root, 2, tensors, state_at(2))
    file, harm = DAMAGES[damage]
    harm(newest / file)
    warned: list[str] = []
    found = newest_state(root, warned.append)
    assert found is not None
    assert found.step == 1
    assert len(warned) == 1
    assert str(newest) in warned[0]
    assert ("manifest" if "manifest" in damage or "hash" in damage else file) in warned[0]
    assert (root / "corrupt-step-2").is_dir()
    again = newest_state(root, warned.append)
    assert again is not None
    assert again.step == 1
    assert len(warned) == 1


def test_where_all_are_damaged_the_run_does_not_begin_again(root: Path, tensors: State) -> None:
    for step in (1, 2):
        flip(write_snapshot(root, step, tensors, state_at(step)) / "weights.safetensors")
    point(root, "last", root / "step-2")
    for _ in range(2):  # nor does the second try, when they have been set aside
        with pytest.raises(CheckpointError, match="no saved state") as caught:
            newest_state(root, lambda text: None)
        assert caught.value.exit_code == 4


def test_a_state_counts_only_with_its_best(root: Path, tensors: State) -> None:
    write_snapshot(root, 1, tensors, state_at(1))
    best = write_snapshot(root, 2, tensors, state_at(2, best=2))
    write_snapshot(root, 3, tensors, state_at(3, best=2))
    found = newest_state(root, lambda text: None)
    assert found is not None
    assert found.step == 3
    flip(best / "weights.safetensors")
    found = newest_state(root, lambda text: None)
    assert found is not None
    assert found.step == 1


def test_nothing_saved_is_a_new_run(root: Path) -> None:
    assert newest_state(root, lambda text: None) is None


class Killed(BaseException):
    """The process is gone: no handler of ours may act on it."""


@pytest.mark.parametrize("replacing", [False, True], ids=["new step", "same step again"])
def test_a_kill_at_any_moment_of_a_save_leaves_a_whole_state(
    root: Path, tensors: State, monkeypatch: pytest.MonkeyPatch, replacing: bool
) -> None:
    """Every disk operation of a save is in turn the last one that the process does."""
    moment, survived = 0, 0
    while True:
        shutil.rmtree(root, ignore_errors=True)
        write_snapshot(root, 1, tensors, state_at(1))
        if replacing:
            write_snapshot(root, 2, tensors, state_at(2))
        left = moment
        with monkeypatch.context() as patch:

            def counted(real: Callable[..., Any]) -> Callable[..., Any]:
                def call(*arguments: Any, **options: Any) -> Any:
                    nonlocal left
                    if left == 0:
                        raise Killed
                    left -= 1
                    return real(*arguments, **options)

                return call

            for owner, name in (
                (os, "fsync"),
                (Path, "rename"),
                (Path, "replace"),
                (Path, "mkdir"),
                (shutil, "rmtree"),
            ):
                patch.setattr(owner, name, counted(getattr(owner, name)))
            patch.setattr(snapshots, "write_synced", counted(storage.write_synced))
            try:
                write_snapshot(root, 2, {**tensors, "backbone/w": np.zeros(2)}, state_at(2, best=2))
                finished = True
            except Killed:
                finished = False
        sweep(root)
        assert not [name for name in names(root) if name.startswith(".")]
        found = newest_state(root, lambda text: pytest.fail(text))
        assert found is not None
        assert found.step in {1, 2}
        assert found.step == 2 or not replacing
        if finished:
            assert found.state == state_at(2, best=2)
            break
        moment, survived = moment + 1, survived + 1
    assert survived > 8


@pytest.mark.parametrize("operation", ["fsync", "rename", "write"])
def test_a_full_disk_leaves_the_saved_states_alone(
    root: Path, tensors: State, monkeypatch: pytest.MonkeyPatch, operation: str
) -> None:
    write_snapshot(root, 1, tensors, state_at(1))

    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    target = {"fsync": (os, "fsync"), "rename": (Path, "rename"), "write": (snapshots, "write_synced")}[
        operation
    ]
    monkeypatch.setattr(*target, refuse)
    with pytest.raises(StorageError, match="No space left") as caught:
        write_snapshot(root, 2, tensors, state_at(2))
    assert "step-2" in str(caught.value)
    monkeypatch.undo()
    assert names(root) == ["step-1"]
    assert read_snapshot(root / "step-1").step == 1


def test_prune_keeps_the_newest_and_the_best(root: Path, tensors: State) -> None:
    for step in (2, 9, 10, 11):
        write_snapshot(root, step, tensors, state_at(step))
    prune(root, keep=2, best_step=2)
    assert [path.name for path in list_snapshots(root)] == ["step-11", "step-10", "step-2"]
    prune(root, keep=2, best_step=11)
    assert [path.name for path in list_snapshots(root)] == ["step-11", "step-10"]


def test_pointers_are_one_line_and_lead_nowhere_else(root: Path, tensors: State) -> None:
    folder = write_snapshot(root, 5, tensors, state_at(5))
    point(root, "best", folder)
    assert (root / "best").read_bytes() == b"step-5\n"
    assert pointed(root, "best") == folder
    assert pointed(root, "last") is None
    (root / "best").write_text("step-5/../../elsewhere\n", encoding="utf-8")
    with pytest.raises(ValueError, match="does not name a saved state"):
        pointed(root, "best")


def test_signing_again_makes_an_altered_state_whole(root: Path, tensors: State) -> None:
    folder = write_snapshot(root, 5, tensors, state_at(5))
    (folder / "state.json").write_text(json.dumps(state_at(4)), encoding="utf-8")
    with pytest.raises(ValueError, match="state.json"):
        read_snapshot(folder)
    sign(folder)
    assert read_snapshot(folder).step == 4


def test_machine_differences_name_what_changed() -> None:
    before = {"cores": 2, "versions": {"keras": "3.15.1", "numpy": "2.4.6"}}
    now = {"cores": 8, "versions": {"keras": "3.15.1", "numpy": "2.5.0"}}
    assert machine_differences(before, now) == ["cores: was 2, is now 8", "numpy: was 2.4.6, is now 2.5.0"]
    assert machine_differences(before, before) == []


def test_a_best_state_is_found_by_its_folder(root: Path, tensors: State) -> None:
    """What ``best`` names is a folder; a state altered by hand must not hide it."""
    folder = write_snapshot(root, 8, tensors, state_at(8, best=8))
    (folder / "state.json").write_text(json.dumps(state_at(7, best=8)), encoding="utf-8")
    sign(folder)
    found = newest_state(root, pytest.fail)
    assert found is not None
    assert found.step == 7
