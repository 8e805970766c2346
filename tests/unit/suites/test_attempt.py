"""One item: what is tried again, what is not, and that nobody does it twice."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from clue_runner.runs.results import write_result
from clue_runner.suites import attempt as module
from clue_runner.suites.attempt import attempt, heals
from clue_runner.suites.executors import local
from clue_runner.suites.items import Work
from clue_runner.suites.records import ItemPlace


@pytest.fixture
def work(tmp_path: Path) -> Work:
    return Work("id", "words", ("--task", "afqmc"), str(tmp_path / "run"), str(tmp_path), "1+a")


@pytest.fixture
def children(
    work: Work, make_result: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
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
                Path(one.folder).mkdir(exist_ok=True)
                write_result(Path(one.folder) / "metrics.json", make_result(code=code))
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


def test_a_broken_item_stops_no_other(work: Work, children: Callable[..., Any]) -> None:
    children([6, 0, 0])
    works = [
        replace(work, id=str(number), folder=str(Path(work.root) / f"run-{number}")) for number in range(3)
    ]
    ended: dict[str, int] = {}
    local.execute(works, [{}], stopped=lambda: False, done=lambda one, code: ended.update({one.id: code}))
    assert ended == {"0": 6, "1": 0, "2": 0}


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
