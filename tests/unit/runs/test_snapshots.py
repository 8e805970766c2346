from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from clue_runner.errors import CheckpointError, NotFiniteError, StorageError
from clue_runner.files import atomic as storage
from clue_runner.files.tensors import save_weights
from clue_runner.runs import snapshots
from clue_runner.runs.events import EventLog, Save
from clue_runner.runs.folder import RunFolder
from clue_runner.runs.identity import Identity
from clue_runner.runs.progress import Progress
from clue_runner.runs.resume import best_snapshot
from clue_runner.runs.resume import newest_state as newest_state_of
from clue_runner.runs.snapshots import (
    list_snapshots,
    point,
    pointed,
    prune,
    sweep,
    write_manifest,
    write_snapshot,
)
from clue_runner.runs.states import SavedState, Snapshot, read_snapshot

State = dict[str, Any]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def state_at(step: int, best: int | None = None) -> SavedState:
    return SavedState(progress=Progress(step=step, best_step=best), identity=Identity())


def newest_state(root: Path, warn: Callable[[str], None]) -> Snapshot | None:
    return newest_state_of(RunFolder(root.parent), warn)


def alter(folder: Path, **fields: Any) -> None:
    """Change a state.json by hand and write the manifest anew."""
    path = folder / "state.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**content, **fields}), encoding="utf-8")
    write_manifest(folder)


def test_a_state_comes_back_bit_for_bit(
    root: Path, tensors: State, make_state: Callable[..., SavedState]
) -> None:
    folder = write_snapshot(
        root, tensors, make_state(), header={"vocab_size": 7}, files={"vocab.txt": b"[PAD]\n"}
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
    assert snapshot.state == make_state()
    found = snapshot.tensors()
    assert found.keys() == tensors.keys()
    for name, value in tensors.items():
        assert found[name].dtype == value.dtype
        assert found[name].shape == value.shape
        assert found[name].tobytes() == value.tobytes()
    assert names(root) == ["step-3"]


EVALUATION = {"step": 7, "epoch": 1, "score": 1 / 3, "scores": {"accuracy": 1 / 3}, "loss": 0.1}


def test_progress_survives_json_bit_for_bit() -> None:
    progress = Progress(step=7, best_score=100 / 3, loss_sum=0.1 + 0.2, history=[dict(EVALUATION)])
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
    write_snapshot(root, tensors, state_at(1))
    newest = write_snapshot(root, tensors, state_at(2))
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
        flip(write_snapshot(root, tensors, state_at(step)) / "weights.safetensors")
    point(root, "last", root / "step-2")
    for _ in range(2):  # nor does the second try, when they have been set aside
        with pytest.raises(CheckpointError, match="no saved state") as caught:
            newest_state(root, lambda text: None)
        assert caught.value.exit_code == 4


def test_a_state_counts_only_with_its_best(root: Path, tensors: State) -> None:
    write_snapshot(root, tensors, state_at(1))
    best = write_snapshot(root, tensors, state_at(2, best=2))
    write_snapshot(root, tensors, state_at(3, best=2))
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
        write_snapshot(root, tensors, state_at(1))
        if replacing:
            write_snapshot(root, tensors, state_at(2))
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
                write_snapshot(root, {**tensors, "backbone/w": np.zeros(2)}, state_at(2, best=2))
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
    write_snapshot(root, tensors, state_at(1))

    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    target = {"fsync": (os, "fsync"), "rename": (Path, "rename"), "write": (snapshots, "write_synced")}[
        operation
    ]
    monkeypatch.setattr(*target, refuse)
    with pytest.raises(StorageError, match="No space left") as caught:
        write_snapshot(root, tensors, state_at(2))
    assert "step-2" in str(caught.value)
    monkeypatch.undo()
    assert names(root) == ["step-1"]
    assert read_snapshot(root / "step-1").step == 1


def test_prune_keeps_the_newest_and_the_best(root: Path, tensors: State) -> None:
    for step in (2, 9, 10, 11):
        write_snapshot(root, tensors, state_at(step))
    prune(root, keep=2, best_step=2)
    assert [path.name for path in list_snapshots(root)] == ["step-11", "step-10", "step-2"]
    prune(root, keep=2, best_step=11)
    assert [path.name for path in list_snapshots(root)] == ["step-11", "step-10"]


def test_pointers_are_one_line_and_lead_nowhere_else(root: Path, tensors: State) -> None:
    folder = write_snapshot(root, tensors, state_at(5))
    point(root, "best", folder)
    assert (root / "best").read_bytes() == b"step-5\n"
    assert pointed(root, "best") == folder
    assert pointed(root, "last") is None
    (root / "best").write_text("step-5/../../elsewhere\n", encoding="utf-8")
    with pytest.raises(ValueError, match="does not name a saved state"):
        pointed(root, "best")


# ---------------------------------------------------------------------------- a state is what is listed


def test_a_file_that_is_not_listed_is_no_part_of_the_state(root: Path, tensors: State) -> None:
    folder = write_snapshot(root, tensors, state_at(5, best=5))
    point(root, "best", folder)
    save_weights(folder / "ema.safetensors.safetensors", {"ema/backbone/w": np.ones((2, 3), np.float32)})
    save_weights(folder / "zz.safetensors", {"backbone/w": np.full((2, 3), 9, np.float32)})
    os.mkfifo(folder / "pipe.safetensors")
    for snapshot in (
        read_snapshot(folder),
        newest_state(root, pytest.fail),
        best_snapshot(RunFolder(root.parent)),
    ):
        assert snapshot is not None
        found = snapshot.tensors()
        assert found.keys() == tensors.keys()
        assert all((found[name] == tensors[name]).all() for name in tensors)


def swap(first: Path, second: Path) -> None:
    aside = first.with_name("aside")
    first.rename(aside)
    second.rename(first)
    aside.rename(second)


def test_two_states_swapped_by_name_are_noticed(root: Path, tensors: State) -> None:
    write_snapshot(root, tensors, state_at(1))
    first = write_snapshot(root, {**tensors, "backbone/w": np.ones((2, 3))}, state_at(10, best=10))
    second = write_snapshot(root, tensors, state_at(20, best=10))
    point(root, "best", first)
    swap(first, second)
    with pytest.raises(CheckpointError, match="renamed") as caught:
        best_snapshot(RunFolder(root.parent))
    assert caught.value.exit_code == 4
    warned: list[str] = []
    found = newest_state(root, warned.append)
    assert found is not None
    assert found.step == 1
    assert len(warned) == 2


def test_weights_of_another_step_are_noticed_though_checksums_fit(root: Path, tensors: State) -> None:
    write_snapshot(root, tensors, state_at(1))
    first = write_snapshot(root, {**tensors, "backbone/w": np.ones((2, 3))}, state_at(10))
    second = write_snapshot(root, tensors, state_at(20))
    shutil.copy(first / "weights.safetensors", second / "weights.safetensors")
    write_manifest(second)
    warned: list[str] = []
    found = newest_state(root, warned.append)
    assert found is not None
    assert found.step == 10
    assert "weights.safetensors belongs to step 10, not to step 20" in warned[0]


def test_the_pointer_to_the_best_state_agrees_with_the_result(
    root: Path, tensors: State, make_result: Callable[..., Any]
) -> None:
    folder = RunFolder(root.parent)
    for step in (10, 20):
        point(root, "best", write_snapshot(root, tensors, state_at(step, best=step)))
    snapshots.write_atomic(folder.metrics, json.dumps(make_result(best_step=20).to_json()).encode())
    assert best_snapshot(folder).step == 20
    point(root, "best", root / "step-10")
    with pytest.raises(CheckpointError, match="a different state than the result"):
        best_snapshot(folder)


WRONG_TYPES: dict[str, State] = {
    "progress a list": {"progress": []},
    "progress of text": {"progress": {**Progress(step=2).to_json(), "step": "2"}},
    "a negative position": {"progress": {**Progress(step=2).to_json(), "position": -1}},
    "history of numbers": {"progress": {**Progress(step=2).to_json(), "history": [1, 2]}},
    "history without scores": {"progress": {**Progress(step=2).to_json(), "history": [{"step": 2}]}},
    "seconds of text": {"progress": {**Progress(step=2).to_json(), "seconds": {"train": "long"}}},
    "an infinite loss": {"progress": {**Progress(step=2).to_json(), "loss_sum": float("inf")}},
    "buckets a number": {"buckets": 32},
    "buckets of text": {"buckets": ["32"]},
    "machine a list": {"machine": []},
    "identity a list": {"identity": []},
    "card a list": {"identity": {"card": []}},
    "no identity": {"identity": None},
    "data hashes a list": {"identity": {"data": ["a"]}},
    "schema of text": {"schema": "2"},
    "schema true": {"schema": True},
}


@pytest.mark.parametrize("kind", WRONG_TYPES)
def test_a_listed_state_of_wrong_types_is_damage_and_no_crash(root: Path, tensors: State, kind: str) -> None:
    write_snapshot(root, tensors, state_at(1))
    alter(write_snapshot(root, tensors, state_at(2)), **WRONG_TYPES[kind])
    warned: list[str] = []
    found = newest_state(root, warned.append)
    assert found is not None
    assert found.step == 1
    assert "state.json" in warned[0]
    shutil.rmtree(root / "step-1")
    with pytest.raises(CheckpointError) as caught:
        newest_state(root, warned.append)
    assert caught.value.exit_code == 4


@pytest.mark.parametrize("name", ["../step-1/state.json", "/etc/passwd", "..", "", "a\x00b", "manifest.json"])
def test_a_manifest_names_files_beside_it_alone(root: Path, tensors: State, name: str) -> None:
    folder = write_snapshot(root, tensors, state_at(2))
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    manifest["files"][name] = manifest["files"]["state.json"]
    path.write_text(json.dumps(manifest), encoding="utf-8")
    with pytest.raises(ValueError, match="not the name of a file"):
        read_snapshot(folder)


@pytest.mark.parametrize("kind", ["device", "pipe", "folder"])
def test_a_listed_name_that_is_no_file_is_damage_and_never_waited_for(
    root: Path, tensors: State, kind: str
) -> None:
    folder = write_snapshot(root, tensors, state_at(2))
    path = folder / "optimizer.safetensors"
    path.unlink()
    if kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.mkdir()
    with pytest.raises(ValueError, match=r"optimizer\.safetensors is a"):
        read_snapshot(folder)


# ---------------------------------------------------------------------------- other versions


def test_an_unfinished_run_of_schema_1_is_refused_with_the_reason(root: Path, tensors: State) -> None:
    for best in (None, 2):
        alter(write_snapshot(root, tensors, state_at(2, best)), schema=1)
        with pytest.raises(CheckpointError) as caught:
            newest_state(root, pytest.fail)
        text = str(caught.value)
        assert caught.value.exit_code == 4
        assert all(word in text for word in ("dropout", "--fresh", "--output", "step 2"))
        assert ("clue predict" in text) == (best is not None)
        assert names(root) == ["step-2"]
    assert read_snapshot(root / "step-2").step == 2


def test_a_run_of_schema_1_that_needs_no_more_updates_goes_on(root: Path, tensors: State) -> None:
    folder = write_snapshot(
        root, tensors, SavedState(progress=Progress(step=2, ended="epochs"), identity=Identity())
    )
    alter(folder, schema=1)
    found = newest_state(root, pytest.fail)
    assert found is not None
    assert found.step == 2


def test_a_state_of_a_later_version_is_left_alone(root: Path, tensors: State) -> None:
    write_snapshot(root, tensors, state_at(1))
    alter(write_snapshot(root, tensors, state_at(2)), schema=3)
    with pytest.raises(CheckpointError, match="later version"):
        newest_state(root, pytest.fail)
    assert names(root) == ["step-1", "step-2"]


# ---------------------------------------------------------------------------- gone


def test_emptied_checkpoints_are_no_new_run(root: Path, tensors: State, fake: Any) -> None:
    folder = RunFolder(root.parent)
    with EventLog(folder.events, fake.Console()) as log:
        point(root.parent, "unrelated", write_snapshot(root, tensors, state_at(3)))
        log.write(Save(step=3, folder="checkpoints/step-3", best=True))
    shutil.rmtree(root)
    for emptied in (False, True):
        if emptied:
            root.mkdir()
        with pytest.raises(CheckpointError, match="the saved states are gone") as caught:
            newest_state(root, pytest.fail)
        assert caught.value.exit_code == 4
        assert "--fresh" in str(caught.value)


def test_a_newest_state_that_is_gone_is_said(root: Path, tensors: State) -> None:
    for step in (1, 2):
        point(root, "last", write_snapshot(root, tensors, state_at(step)))
    shutil.rmtree(root / "step-2")
    warned: list[str] = []
    found = newest_state(root, warned.append)
    assert found is not None
    assert found.step == 1
    assert "step-2 is gone; continuing from step-1" in warned[0]


# ---------------------------------------------------------------------------- unreadable is not corrupt


ERRORS = [errno.EACCES, errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ESTALE]


@pytest.mark.parametrize("number", ERRORS, ids=errno.errorcode.get)
@pytest.mark.parametrize("file", ["manifest.json", "state.json", "weights.safetensors", "vocab.txt"])
def test_a_state_that_cannot_be_read_for_a_moment_is_left_alone(
    root: Path, tensors: State, monkeypatch: pytest.MonkeyPatch, number: int, file: str
) -> None:
    write_snapshot(root, tensors, state_at(1))
    write_snapshot(root, tensors, state_at(2, best=2), files={"vocab.txt": b"[PAD]"})
    before = sorted(path.relative_to(root) for path in root.rglob("*"))
    real = os.open

    def refuse(path: Any, *arguments: Any, **options: Any) -> int:
        if Path(path) == root / "step-2" / file:
            raise OSError(number, os.strerror(number))
        return real(path, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refuse)
        with pytest.raises(StorageError) as caught:
            newest_state(root, pytest.fail)
    assert caught.value.exit_code == 8
    assert os.strerror(number) in str(caught.value)
    assert sorted(path.relative_to(root) for path in root.rglob("*")) == before
    found = newest_state(root, pytest.fail)
    assert found is not None
    assert found.step == 2


def test_a_disk_that_fails_while_it_is_read_is_no_damage(
    root: Path, tensors: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_snapshot(root, tensors, state_at(2))

    def refuse(*_: Any) -> str:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr("hashlib.file_digest", refuse)
        patch.setattr("clue_runner.files.tensors.read_tensor", refuse)
        with pytest.raises(StorageError, match="Input/output error"):
            newest_state(root, pytest.fail)
    assert names(root) == ["step-2"]


def test_no_descriptor_left_is_no_damage(root: Path, tensors: State) -> None:
    """The tensor library says "no such file" then; seen in a process of its own."""
    write_snapshot(root, tensors, state_at(2))
    program = (
        "import os, resource, sys\n"
        "from pathlib import Path\n"
        "from clue_runner.errors import StorageError\n"
        "from clue_runner.files.tensors import open_safetensors\n"
        "import safetensors.numpy, ml_dtypes\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))\n"
        "taken = []\n"
        "try:\n"
        "    while True: taken.append(os.open('/dev/null', os.O_RDONLY))\n"
        "except OSError: pass\n"
        "for free in (0, 1):\n"
        "    try:\n"
        "        with open_safetensors(Path(sys.argv[1])): print('opened')\n"
        "    except StorageError as error: print(error.exit_code, 'Too many open files' in str(error))\n"
        "    os.close(taken.pop())\n"
    )
    arguments = [sys.executable, "-c", program, str(root / "step-2" / "weights.safetensors")]
    output = subprocess.run(arguments, capture_output=True, text=True, check=True).stdout
    assert output.splitlines()[0] == "8 True"


def test_a_whole_state_that_was_set_aside_is_taken_back(root: Path, tensors: State) -> None:
    write_snapshot(root, tensors, state_at(1))
    write_snapshot(root, tensors, state_at(2, best=2)).rename(root / "corrupt-step-2")
    point(root, "last", root / "step-2")
    warned: list[str] = []
    found = newest_state(root, warned.append)
    assert found is not None
    assert found.step == 2
    assert found.folder == root / "step-2"
    assert "is complete: restored" in warned[0]
    assert names(root) == ["last", "step-1", "step-2"]


def test_what_was_set_aside_is_never_deleted(root: Path, tensors: State) -> None:
    for _ in range(3):
        write_snapshot(root, tensors, state_at(1))
        flip(write_snapshot(root, tensors, state_at(2)) / "weights.safetensors")
        found = newest_state(root, lambda text: None)
        assert found is not None
        assert found.step == 1
    assert names(root) == ["corrupt-step-2", "corrupt-step-2.2", "corrupt-step-2.3", "step-1"]


# ---------------------------------------------------------------------------- what is saved


@pytest.mark.parametrize("name", ["backbone/w", "optimizer/momentum/backbone/w", "ema/backbone/w"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("dtype", [np.float32, ml_dtypes.bfloat16, np.float64])
def test_weights_that_are_no_numbers_are_never_saved(
    root: Path, tensors: State, name: str, value: float, dtype: Any
) -> None:
    write_snapshot(root, tensors, state_at(1))
    bad = np.zeros((2, 3), dtype)
    bad[1, 2] = value
    with pytest.raises(NotFiniteError, match=name) as caught:
        write_snapshot(root, {**tensors, name: bad}, state_at(2))
    assert caught.value.exit_code == 6
    assert "1 of 6 values" in str(caught.value)
    assert names(root) == ["step-1"]


def test_an_environment_of_any_bytes_can_be_saved(root: Path, tensors: State) -> None:
    machine = {"environment": {"XLA_FLAGS": os.fsdecode(b"--dump=/\xff")}}
    folder = write_snapshot(
        root, tensors, SavedState(progress=Progress(step=2), identity=Identity(), machine=machine)
    )
    assert read_snapshot(folder).state.machine == machine


def test_a_saved_state_does_not_follow_the_loop(root: Path, tensors: State) -> None:
    """A thread may write it while the run goes on."""
    progress = Progress(step=2)
    state = SavedState(progress=progress, identity=Identity())
    progress.step, progress.history = 3, [dict(EVALUATION)]
    folder = write_snapshot(root, tensors, state)
    assert read_snapshot(folder).state.progress == Progress(step=2)


def test_saving_changes_nothing_of_the_process(
    root: Path, tensors: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even for a moment: a file that another thread makes meanwhile gets the rights that it should."""
    monkeypatch.setattr(os, "umask", lambda mask: pytest.fail("the umask is the whole process's"))
    monkeypatch.setattr(os, "chdir", lambda path: pytest.fail("so is the folder"))
    folder = write_snapshot(root, tensors, state_at(2), files={"vocab.txt": b""})
    point(root, "last", folder)
    monkeypatch.undo()
    mask = os.umask(0)
    os.umask(mask)
    for path in folder.iterdir():
        assert path.stat().st_mode & 0o777 == 0o666 & ~mask, path
