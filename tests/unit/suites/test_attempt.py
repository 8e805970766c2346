"""One item: what is tried again, what is not, and that nobody does it twice."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from clue_runner.adapters.sections import SECTIONS
from clue_runner.config.resolved import config_hash
from clue_runner.config.schema import Run
from clue_runner.runs.folder import RunFolder, write_settings
from clue_runner.runs.identity import Identity
from clue_runner.runs.results import write_result
from clue_runner.suites import attempt as module
from clue_runner.suites.attempt import attempt, heals
from clue_runner.suites.executors import local
from clue_runner.suites.items import Work, item_facts, item_id
from clue_runner.suites.records import ItemPlace, held

IDENTITY = Identity(data={"train": "a", "dev": "b"}, vocabulary="v", weights="random")


@pytest.fixture
def make_work(tmp_path: Path, make_run: Callable[..., Run]) -> Callable[[int], Work]:
    """The item of a seed."""

    def make(seed: int) -> Work:
        facts = item_facts(make_run(f"seed={seed}"), "afqmc", IDENTITY, code="1+a", precision="float32")
        words = ("--task", "afqmc", "--seed", str(seed))
        return Work(item_id(facts), "words", words, str(tmp_path / f"run-{seed}"), str(tmp_path), "1+a")

    return make


@pytest.fixture
def work(make_work: Callable[[int], Work]) -> Work:
    return make_work(42)


@pytest.fixture
def leave_result(make_run: Callable[..., Run], make_result: Callable[..., Any]) -> Callable[..., None]:
    """Leave in a folder what a finished run of a seed leaves."""

    def leave(folder: str, seed: int, code: str = "1+a") -> None:
        run = make_run(f"seed={seed}")
        Path(folder).mkdir(exist_ok=True)
        RunFolder(Path(folder)).settings.unlink(missing_ok=True)
        write_settings(RunFolder(Path(folder)), run, SECTIONS)
        fields = {"seed": seed, "code": code, "precision": "float32", "config_sha256": config_hash(run)}
        write_result(Path(folder) / "metrics.json", make_result(identity=IDENTITY.model_dump(), **fields))

    return leave


@pytest.fixture
def children(
    leave_result: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., list[list[str]]]:
    """Replace the run's processes: each in turn ends with the given code; 0 leaves a result first."""
    monkeypatch.setattr(module, "PAUSE", 0.02)
    monkeypatch.setattr(module, "POLL", 0.01)

    def use(codes: Sequence[int], code: str = "1+a", seconds: float = 0.0) -> list[list[str]]:
        started: list[list[str]] = []
        left = list(codes)

        def start(command: list[str], one: Work, log: Any) -> subprocess.Popen[bytes]:
            started.append(command)
            exit_code = left.pop(0)
            if exit_code == 0:
                leave_result(one.folder, int(one.arguments[-1]), code)
            end = f"os.kill(os.getpid(), {-exit_code})" if exit_code < 0 else f"os._exit({exit_code})"
            program = (
                f"import os, time; print('error: it is broken', flush=True); time.sleep({seconds}); {end}"
            )
            return subprocess.Popen([sys.executable, "-u", "-S", "-c", program], stdout=log, stderr=log)

        monkeypatch.setattr(module, "_start", start)
        return started

    return use


@pytest.mark.parametrize("code", [1, 2, 3, 4, 5, 6])
def test_what_cannot_heal_is_tried_once(work: Work, children: Callable[..., Any], code: int) -> None:
    started = children([code])
    assert attempt(work) == code
    assert len(started) == 1
    record = ItemPlace(work.place).record()
    assert record is not None
    assert [(one.exit_code, one.reason) for one in record.attempts] == [(code, "it is broken")]


@pytest.mark.parametrize("code", [7, 8, 143, -9, -11])
def test_what_can_heal_is_tried_again(work: Work, children: Callable[..., Any], code: int) -> None:
    assert heals(code)
    started = children([code, code, 0])
    assert attempt(work) == 0
    assert len(started) == 3


def test_not_for_ever(work: Work, children: Callable[..., Any]) -> None:
    children([-9, -9, -9, 0])
    assert attempt(work) == -9
    record = ItemPlace(work.place).record()
    assert record is not None
    assert record.attempts[-1].reason == "killed by SIGKILL: the system's out-of-memory killer does that"


def test_a_busy_folder_is_waited_for_and_counts_as_no_try(work: Work, children: Callable[..., Any]) -> None:
    started = children([9] * 7 + [0])
    assert attempt(work, tries=1) == 0
    assert len(started) == 8
    record = ItemPlace(work.place).record()
    assert record is not None
    assert len(record.attempts) == 1


def test_a_result_is_not_made_again(work: Work, children: Callable[..., Any]) -> None:
    started = children([0])
    assert attempt(work) == attempt(work) == 0
    assert len(started) == 1


def test_a_result_of_another_program_is_moved_aside(work: Work, children: Callable[..., Any]) -> None:
    started = children([0], code="1+b")
    assert attempt(work) == 4  # the program changed while the suite ran: not this item's result
    again = children([0], code="1+a")
    assert attempt(work) == 0
    assert ("--fresh" in started[0], "--fresh" in again[0]) == (False, True)


@pytest.mark.parametrize("spoilt", ["metrics.json", "run.yaml", "another seed", "metrics of another seed"])
def test_what_is_not_the_items_result_is_moved_aside_and_made_again(
    work: Work, children: Callable[..., Any], leave_result: Callable[..., None], spoilt: str
) -> None:
    """A damaged file, a folder or a result that was copied by hand: never taken for the item's own."""
    leave_result(work.folder, 42)
    folder = Path(work.folder)
    if spoilt == "another seed":
        leave_result(work.folder, 43)
    elif spoilt == "metrics of another seed":
        leave_result(work.root + "/other", 43)
        shutil.copy(Path(work.root) / "other" / "metrics.json", folder)
    else:
        (folder / spoilt).write_bytes((folder / spoilt).read_bytes()[:40] + b"\xff")
    assert held(folder, work.id, work.code).result is None
    started = children([0])
    assert attempt(work) == 0
    assert ["--fresh" in command for command in started] == [True]
    assert held(folder, work.id, work.code).other is None


def test_a_stop_saves_and_comes_back(work: Work, children: Callable[..., Any]) -> None:
    children([0], seconds=30)
    Path(work.folder).mkdir()
    begun = time.monotonic()
    code = attempt(replace(work, code="none"), stopped=lambda: time.monotonic() > begun + 0.3)
    assert code == -15
    assert time.monotonic() < begun + 20


def test_two_workers_do_an_item_once(work: Work, children: Callable[..., Any]) -> None:
    started = children([0, 0], seconds=0.3)
    codes: list[int] = []
    threads = [threading.Thread(target=lambda: codes.append(attempt(work))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (codes, len(started)) == ([0, 0], 1)


def test_a_broken_item_stops_no_other(make_work: Callable[[int], Work], children: Callable[..., Any]) -> None:
    children([6, 0, 0])
    works = [make_work(seed) for seed in range(3)]
    ended: dict[str, int] = {}
    local.execute(works, [{}], stopped=lambda: False, done=lambda one, code: ended.update({one.id: code}))
    assert [ended[work.id] for work in works] == [6, 0, 0]


def test_a_worker_for_each_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2, 5")
    assert local.slots(None, use_gpus=True) == [
        {"CUDA_VISIBLE_DEVICES": "2"},
        {"CUDA_VISIBLE_DEVICES": "5"},
    ]
    assert local.slots(3, use_gpus=True)[2] == {"CUDA_VISIBLE_DEVICES": "2"}
    assert local.slots(None, use_gpus=False) == [{}]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert local.slots(2, use_gpus=True) == [{}, {}]


def test_a_folder_that_refuses_is_the_items_own_failure(work: Work, children: Callable[..., Any]) -> None:
    started = children([0])
    work.place.mkdir(parents=True)
    (work.place / "lock").write_text("somebody's", encoding="utf-8")
    assert attempt(work) == 2
    record = ItemPlace(work.place).record()
    assert record is not None
    assert "a file called lock is in the folder" in str(record.attempts[-1].reason)
    assert not started
