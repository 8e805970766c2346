from __future__ import annotations

import json
import multiprocessing
import os
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clue_runner.adapters.sections import SECTIONS
from clue_runner.config.schema import Run
from clue_runner.errors import BusyError, CheckpointError, StorageError, UsageError
from clue_runner.files.lock import FolderLock
from clue_runner.runs.find import finished_runs
from clue_runner.runs.folder import RunFolder, write_settings
from clue_runner.runs.identity import Identity, card_content, card_differences
from clue_runner.runs.opening import open_folder
from clue_runner.runs.progress import Progress
from clue_runner.runs.results import write_result
from clue_runner.runs.snapshots import write_manifest, write_snapshot
from clue_runner.runs.states import SavedState

CARD = {"version": "1", "adapter": "classification", "labels": ["0", "1"], "metric": "accuracy"}
IDENTITY = Identity(data={"train": "a", "dev": "b", "test": "t"}, vocabulary="v", weights="w", card=CARD)
MakeRun = Callable[..., Run]


def begin(path: Path, run: Run, **options: Any) -> RunFolder:
    identity = IDENTITY.model_copy(update=options.get("identity", {}))
    folder, lock = open_folder(path, run, identity, SECTIONS, fresh=options.get("fresh", False))
    write_settings(folder, run, SECTIONS)
    lock.release()
    return folder


def test_the_same_command_finds_its_folder_again(tmp_path: Path, make_run: MakeRun) -> None:
    folder = begin(tmp_path / "run 运行", make_run())
    assert folder.run(SECTIONS) == make_run()
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


@pytest.fixture
def saved(
    tmp_path: Path, make_run: MakeRun, tensors: Any, make_state: Callable[..., SavedState]
) -> RunFolder:
    """An unfinished run with one saved state."""
    folder = begin(tmp_path / "r", make_run())
    write_snapshot(folder.checkpoints, tensors, make_state(3))
    begin(folder.path, make_run())
    return folder


DIFFERENCES: dict[str, tuple[dict[str, Any], str, list[str]]] = {
    "train": ({"data": {"train": "other", "dev": "b"}}, "data: train", ["was a, is now other"]),
    "dev": ({"data": {"train": "a", "dev": "other"}}, "data: dev", ["was b, is now other"]),
    "vocabulary": ({"vocabulary": "other"}, "model.vocab", ["was v, is now other"]),
    "weights under the same path": ({"weights": "x" * 64}, "model.checkpoint", ["was w, is now " + "x" * 12]),
    "weights in the place of none": ({"weights": "random"}, "model.checkpoint", ["random"]),
    "labels swapped": ({"card": {**CARD, "labels": ["1", "0"]}}, "task card: labels", ["0, 1", "1, 0"]),
    "a label more": ({"card": {**CARD, "labels": ["0", "1", "2"]}}, "task card: labels", ["now 0, 1, 2"]),
    "metric": ({"card": {**CARD, "metric": "macro_f1"}}, "task card: metric", ["accuracy", "macro_f1"]),
    "version": ({"card": {**CARD, "version": "2"}}, "task card: version", ['"1"', '"2"']),
    "adapter": ({"card": {**CARD, "adapter": "choice"}}, "task card: adapter", ["classification", "choice"]),
}


@pytest.mark.parametrize("ended", [False, True], ids=["unfinished", "finished"])
@pytest.mark.parametrize("kind", DIFFERENCES)
def test_what_differs_is_named(
    saved: RunFolder, make_run: MakeRun, make_result: Callable[..., Any], kind: str, ended: bool
) -> None:
    if ended:
        write_result(saved.metrics, make_result(identity=IDENTITY.model_dump()))
    change, where, texts = DIFFERENCES[kind]
    with pytest.raises(CheckpointError) as caught:
        begin(saved.path, make_run(), identity=change)
    assert caught.value.exit_code == 4
    assert [problem.where for problem in caught.value.problems] == [where]
    message = str(caught.value)
    assert all(text in message for text in [*texts, "--output", "--name", "--fresh"])


def test_all_differences_at_once(saved: RunFolder, make_run: MakeRun) -> None:
    change = {"weights": "x", "vocabulary": "y", "card": {**CARD, "labels": ["1", "0"]}}
    with pytest.raises(CheckpointError) as caught:
        begin(saved.path, make_run("seed=7"), identity=change)
    assert [problem.where for problem in caught.value.problems] == [
        "seed", "model.vocab", "model.checkpoint", "task card: labels",
    ]  # fmt: skip


def test_the_place_of_a_change_in_a_long_label_list() -> None:
    before = Identity(card={"labels": [f"class {number}" for number in range(119)]})
    labels = [*before.card["labels"]]
    labels[40], labels[41] = labels[41], labels[40]
    (problem,) = card_differences(before, {"labels": labels})
    assert "(119 in all)" in problem.what
    assert "label 41 was class 40, is now class 41" in problem.what
    assert len(problem.what) < 400


def test_what_changes_no_answer_matters_to_scoring_alone() -> None:
    before = Identity(card=CARD)
    assert card_differences(before, {**CARD, "metric": "f1", "version": "2"}, scoring=False) == []
    assert len(card_differences(before, {**CARD, "labels": ["1", "0"]}, scoring=False)) == 1


def test_a_label_is_its_name_whatever_its_description_says() -> None:
    card = {"name": "afqmc", "licence": "x", "labels": [{"name": "0", "description": "不同"}], "metric": "f1"}
    assert card_content(card) == {"labels": ["0"], "metric": "f1"}


def test_an_older_folder_is_compared_on_what_it_has(
    tmp_path: Path, make_run: MakeRun, tensors: Any, make_result: Callable[..., Any]
) -> None:
    folder = begin(tmp_path / "r", make_run())
    hashes = {"train": "a", "dev": "b"}
    state = SavedState(progress=Progress(step=3), identity=Identity())
    saved = write_snapshot(folder.checkpoints, tensors, state)
    content = {**state.to_json(), "schema": 1, "data_sha256": hashes, "vocabulary_sha256": "v"}
    del content["identity"]
    (saved / "state.json").write_text(json.dumps(content), encoding="utf-8")
    write_manifest(saved)
    begin(folder.path, make_run(), identity={"weights": "anything", "card": {}})
    with pytest.raises(CheckpointError, match=r"model\.vocab"):
        begin(folder.path, make_run(), identity={"vocabulary": "other"})
    shutil.rmtree(folder.checkpoints)
    write_result(folder.metrics, make_result(identity=None, data_sha256=hashes))
    begin(folder.path, make_run())
    with pytest.raises(CheckpointError, match="data: train"):
        begin(folder.path, make_run(), identity={"data": {"train": "other"}})


def test_a_test_file_that_comes_later_is_no_difference(saved: RunFolder, make_run: MakeRun) -> None:
    begin(saved.path, make_run(), identity={"data": {"train": "a", "dev": "b", "test": "another"}})


def test_settings_that_say_the_same_keep_what_the_user_noted(saved: RunFolder, make_run: MakeRun) -> None:
    text = saved.settings.read_text(encoding="utf-8") + "# for the paper, table 2\n"
    saved.settings.write_text(text, encoding="utf-8")
    begin(saved.path, make_run())
    assert saved.settings.read_text(encoding="utf-8") == text
    begin(saved.path, make_run("train.save_steps=9"))
    assert "save_steps: 9" in saved.settings.read_text(encoding="utf-8")


def test_fresh_moves_aside_and_deletes_nothing(tmp_path: Path, make_run: MakeRun) -> None:
    begin(tmp_path / "r", make_run())
    begin(tmp_path / "r", make_run("seed=7"), fresh=True)
    begin(tmp_path / "r", make_run("seed=8"), fresh=True)
    seeds = {path.name: RunFolder(path).run(SECTIONS) for path in tmp_path.iterdir()}
    assert {name: run.seed for name, run in seeds.items() if run} == {"r.old-1": 42, "r.old-2": 7, "r": 8}
    assert not list(tmp_path.rglob("lock"))


def test_fresh_does_not_move_a_busy_folder(tmp_path: Path, make_run: MakeRun) -> None:
    begin(tmp_path / "r", make_run())
    with FolderLock(tmp_path / "r"), pytest.raises(BusyError):
        begin(tmp_path / "r", make_run(), fresh=True)
    assert [path.name for path in tmp_path.iterdir()] == ["r"]


ROUNDS = 20


def contend(path: Path, fresh: bool, run: Run, barrier: Any, outcomes: Any) -> None:
    """Open the folder at the same moment as the others, again and again; hold it until all have tried."""
    for number in range(ROUNDS):
        barrier.wait()
        lock = None
        try:
            _, lock = open_folder(
                path / str(number % 5), run, IDENTITY, SECTIONS, fresh=fresh and number >= 5
            )
            outcomes.put((number, "won"))
        except BaseException as error:
            outcomes.put((number, type(error).__name__))
        barrier.wait()
        if lock is not None:
            lock.release()


@pytest.mark.parametrize("fresh", [False, True], ids=["again", "fresh"])
def test_one_of_many_processes_wins_and_every_other_one_is_told_busy(
    tmp_path: Path, make_run: MakeRun, fresh: bool
) -> None:
    spawn = multiprocessing.get_context("spawn")
    count = 4
    barrier, outcomes = spawn.Barrier(count), spawn.Queue()
    arguments = (tmp_path, fresh, make_run(), barrier, outcomes)
    processes = [spawn.Process(target=contend, args=arguments, daemon=True) for _ in range(count)]
    for process in processes:
        process.start()
    found = Counter(outcomes.get(timeout=60) for _ in range(count * ROUNDS))
    for process in processes:
        process.join(timeout=60)
    assert {outcome for _, outcome in found} == {"won", "BusyError"}
    assert [found[number, "won"] for number in range(ROUNDS)] == [1] * ROUNDS


def test_somebody_elses_folder_is_left_alone(tmp_path: Path, make_run: MakeRun) -> None:
    (tmp_path / "thesis.tex").write_text("", encoding="utf-8")
    with pytest.raises(UsageError, match="thesis.tex"):
        begin(tmp_path, make_run())
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_somebody_elses_folder_is_not_moved_aside_either(tmp_path: Path, make_run: MakeRun) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "thesis.tex").write_text("", encoding="utf-8")
    with pytest.raises(UsageError, match=r"thesis\.tex"):
        begin(home, make_run(), fresh=True)
    assert [path.name for path in tmp_path.iterdir()] == ["home"]


@pytest.mark.parametrize("name", ["n" * 300, "a\0b", "\ud800"], ids=["long", "zero byte", "lone surrogate"])
def test_a_path_that_no_disk_takes(tmp_path: Path, make_run: MakeRun, name: str) -> None:
    with pytest.raises(StorageError) as caught:
        begin(tmp_path / name, make_run())
    assert caught.value.exit_code == 8
    str(caught.value).encode()
    assert "--output" in str(caught.value)


def test_a_name_of_any_bytes(tmp_path: Path, make_run: MakeRun, make_result: Callable[..., Any]) -> None:
    path = tmp_path / os.fsdecode(b"\xc8\xcb[1]* \xff")
    folder = begin(path, make_run())
    write_result(folder.metrics, make_result(identity=None))
    assert begin(path, make_run()).finished
    begin(path, make_run(), fresh=True)
    assert len(list(tmp_path.iterdir())) == 2
    assert [run.folder.path for run in finished_runs(tmp_path)] == []


def test_settings_that_no_text_can_hold_are_named(tmp_path: Path, make_run: MakeRun) -> None:
    model = make_run().model.model_copy(update={"vocab": os.fsdecode(b"/data/\xff.txt")})
    with pytest.raises(UsageError, match=r"model\.vocab.*udcff") as caught:
        begin(tmp_path / "r", make_run().model_copy(update={"model": model}))
    assert caught.value.exit_code == 2


def test_a_name_too_long_to_be_moved_aside(tmp_path: Path, make_run: MakeRun) -> None:
    path = tmp_path / ("n" * 252)
    begin(path, make_run())
    with pytest.raises(StorageError, match="too long"):
        begin(path, make_run(), fresh=True)
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_a_path_under_a_file(tmp_path: Path, make_run: MakeRun) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(StorageError) as caught:
        begin(tmp_path / "file" / "r", make_run())
    assert caught.value.exit_code == 8


def test_leftovers_are_swept(tmp_path: Path, make_run: MakeRun) -> None:
    folder = begin(tmp_path / "r", make_run())
    for name in (".tmp-0123456789abcdef", ".tmp-probe-77", ".tmp-a_b4cd3e", ".tmp-notes.txt"):
        (folder.path / name).write_bytes(b"")
    (folder.checkpoints / ".tmp-step-3").mkdir()
    begin(tmp_path / "r", make_run())
    assert [path.name for path in folder.path.rglob(".tmp-*")] == [".tmp-notes.txt"]  # the user's own


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
