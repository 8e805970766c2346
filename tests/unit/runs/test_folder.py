from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clue_runner.config.schema import Run
from clue_runner.errors import BusyError, CheckpointError, StorageError, UsageError
from clue_runner.files.lock import FolderLock
from clue_runner.runs.folder import RunFolder, open_folder, write_settings
from clue_runner.runs.results import write_result
from clue_runner.runs.snapshots import write_snapshot

IDENTITY = {"train": "a", "dev": "b", "vocabulary": "v", "test": "t"}
MakeRun = Callable[..., Run]


def begin(path: Path, run: Run, **options: Any) -> RunFolder:
    folder, lock = open_folder(
        path, run, {**IDENTITY, **options.pop("identity", {})}, fresh=options.pop("fresh", False)
    )
    write_settings(folder, run)
    lock.release()
    return folder


def test_the_same_command_finds_its_folder_again(tmp_path: Path, make_run: MakeRun) -> None:
    folder = begin(tmp_path / "run 运行", make_run())
    assert folder.run() == make_run()
    assert not folder.finished
    begin(folder.path, make_run())
    assert not (folder.path / "lock").exists()


def test_another_setting_is_refused_field_by_field(tmp_path: Path, make_run: MakeRun) -> None:
    begin(tmp_path / "r", make_run())
    with pytest.raises(CheckpointError) as caught:
        begin(tmp_path / "r", make_run("train.learning_rate=3e-5", "seed=7"))
    assert caught.value.exit_code == 4
    assert {problem.where for problem in caught.value.problems} == {"train.learning_rate", "seed"}
    assert "--output" in str(caught.value)
    assert "--fresh" in str(caught.value)


def test_saving_habits_may_change(tmp_path: Path, make_run: MakeRun) -> None:
    begin(tmp_path / "r", make_run())
    begin(
        tmp_path / "r",
        make_run(
            "train.save_minutes=3", "train.save_steps=9", "output.keep_checkpoints=5", "data.cache=true"
        ),
    )


@pytest.mark.parametrize("changed", ["train", "dev", "vocabulary"])
def test_other_data_is_refused(
    tmp_path: Path, make_run: MakeRun, tensors: Any, snapshot_state: Any, changed: str
) -> None:
    folder = begin(tmp_path / "r", make_run())
    write_snapshot(folder.checkpoints, 3, tensors, snapshot_state)
    begin(tmp_path / "r", make_run())
    with pytest.raises(CheckpointError, match=f"{changed}: the file has changed"):
        begin(tmp_path / "r", make_run(), identity={changed: "other"})


def test_a_test_file_that_comes_later_is_no_difference(
    tmp_path: Path, make_run: MakeRun, tensors: Any, snapshot_state: Any
) -> None:
    folder = begin(tmp_path / "r", make_run())
    write_snapshot(folder.checkpoints, 3, tensors, snapshot_state)
    begin(tmp_path / "r", make_run(), identity={"test": "another"})


def test_fresh_moves_aside_and_deletes_nothing(tmp_path: Path, make_run: MakeRun) -> None:
    begin(tmp_path / "r", make_run())
    begin(tmp_path / "r", make_run("seed=7"), fresh=True)
    begin(tmp_path / "r", make_run("seed=8"), fresh=True)
    seeds = {path.name: RunFolder(path).run() for path in tmp_path.iterdir()}
    assert {name: run.seed for name, run in seeds.items() if run} == {"r.old-1": 42, "r.old-2": 7, "r": 8}
    assert not list(tmp_path.rglob("lock"))


def test_fresh_does_not_move_a_busy_folder(tmp_path: Path, make_run: MakeRun) -> None:
    begin(tmp_path / "r", make_run())
    with FolderLock(tmp_path / "r"), pytest.raises(BusyError):
        begin(tmp_path / "r", make_run(), fresh=True)
    assert [path.name for path in tmp_path.iterdir()] == ["r"]


def test_somebody_elses_folder_is_left_alone(tmp_path: Path, make_run: MakeRun) -> None:
    (tmp_path / "thesis.tex").write_text("", encoding="utf-8")
    with pytest.raises(UsageError, match="thesis.tex"):
        begin(tmp_path, make_run())
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_path_under_a_file(tmp_path: Path, make_run: MakeRun) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(StorageError) as caught:
        begin(tmp_path / "file" / "r", make_run())
    assert caught.value.exit_code == 8


def test_leftovers_are_swept(tmp_path: Path, make_run: MakeRun) -> None:
    folder = begin(tmp_path / "r", make_run())
    (folder.path / ".tmp-x").write_bytes(b"")
    (folder.checkpoints / ".tmp-step-3").mkdir()
    begin(tmp_path / "r", make_run())
    assert not list(folder.path.rglob(".tmp-*"))


def test_a_damaged_file_of_the_run_is_named(tmp_path: Path, make_run: MakeRun) -> None:
    folder = begin(tmp_path / "r", make_run())
    folder.metrics.write_text("{", encoding="utf-8")
    with pytest.raises(CheckpointError, match="metrics.json"):
        _ = folder.finished
    folder.settings.write_text("seed: [", encoding="utf-8")
    with pytest.raises(CheckpointError, match="run.yaml"):
        begin(folder.path, make_run())


def test_only_a_result_with_a_score_is_finished(
    tmp_path: Path, make_run: MakeRun, make_result: Callable[..., Any]
) -> None:
    folder = begin(tmp_path / "r", make_run())
    write_result(folder.metrics, make_result(ok=False, score=None))
    assert not folder.finished
    write_result(folder.metrics, make_result())
    assert folder.finished
