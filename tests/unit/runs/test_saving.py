"""The thread that writes states: its order, its errors, and what it never does to the loop."""

from __future__ import annotations

import errno
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clue_runner.errors import InterruptedRunError, NotFiniteError, StorageError
from clue_runner.runs import saving, snapshots
from clue_runner.runs.identity import Identity
from clue_runner.runs.progress import Progress
from clue_runner.runs.saving import Saved, StateWriter
from clue_runner.runs.snapshots import pointed
from clue_runner.runs.states import SavedState, read_snapshot

State = dict[str, Any]


class Engine:
    """Weights that each step overwrites in place."""

    def __init__(self) -> None:
        self.weights = np.zeros(1000, np.float32)

    def room(self) -> State:
        return {"backbone/w": np.empty_like(self.weights)}

    def get_state(self, into: State | None = None) -> State:
        state = self.room() if into is None else into
        np.copyto(state["backbone/w"], self.weights)
        return state


class Writing:
    """A writer, what it has noted, and a gate: it writes no state while the gate is closed."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root, self.noted = root, list[Saved]()
        self.writer = StateWriter(root, 2, self._note)
        self.gate, self.begun = threading.Event(), threading.Event()
        self.gate.set()
        real = snapshots.write_snapshot

        def write(*arguments: Any, **options: Any) -> Path:
            self.begun.set()
            assert self.gate.wait(20)
            return real(*arguments, **options)

        monkeypatch.setattr(saving, "write_snapshot", write)

    def _note(self, saved: Saved) -> None:
        assert threading.current_thread() is threading.main_thread()
        self.noted.append(saved)

    def save(self, engine: Engine, step: int, best_step: int | None = None) -> None:
        state = SavedState(progress=Progress(step=step, best_step=best_step), identity=Identity())
        self.begun.clear()
        self.writer.save(engine.get_state, state, best=step == best_step, header={}, files={})

    def steps(self) -> list[int]:
        return [saved.step for saved in self.noted]


@pytest.fixture
def writing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Writing]:
    one = Writing(tmp_path / "checkpoints", monkeypatch)
    with one.writer:
        yield one
        one.gate.set()


def values(root: Path, step: int) -> set[float]:
    snapshot = read_snapshot(root / f"step-{step}")
    return set(snapshot.tensors()["backbone/w"].tolist())


@pytest.mark.parametrize("prepared", [True, False])
def test_the_loop_goes_on_while_a_state_is_written(writing: Writing, prepared: bool) -> None:
    """What is written is the state of the save, whatever the steps do meanwhile."""
    engine = Engine()
    if prepared:
        writing.writer.prepare(engine.room())
    writing.gate.clear()
    engine.weights += 1
    writing.save(engine, 1, best_step=1)
    assert writing.begun.wait(20)
    for _ in range(3):
        engine.weights += 1
        writing.writer.settle(wait=False)  # returns at once
    assert writing.noted == []
    assert pointed(writing.root, "last") is None
    writing.gate.set()
    writing.writer.settle(wait=True)
    assert writing.steps() == [1]
    assert writing.noted[0].folder == writing.root / "step-1"
    assert values(writing.root, 1) == {1.0}
    writing.writer.settle(wait=True)
    assert writing.steps() == [1]  # told once


def test_the_next_save_waits_before_it_copies(writing: Writing) -> None:
    """The copies are in the same memory: the second may not be made while the first is being written."""
    engine = Engine()
    writing.writer.prepare(engine.room())
    writing.gate.clear()
    engine.weights += 1
    writing.save(engine, 1)
    assert writing.begun.wait(20)
    engine.weights += 1
    threading.Timer(0.2, writing.gate.set).start()
    writing.save(engine, 2)
    assert writing.steps() == [1]
    writing.writer.settle(wait=True)
    assert writing.steps() == [1, 2]
    assert [values(writing.root, step) for step in (1, 2)] == [{1.0}, {2.0}]


def test_pointers_follow_the_state_and_older_ones_go_last(
    writing: Writing, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []

    def recorded(what: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            order.append(f"{what} {arguments[1]}" if what == "point" else what)
            assert threading.current_thread() is not threading.main_thread()
            result = real(*arguments, **options)
            if what == "write":
                read_snapshot(result)  # it is whole before a pointer names it
            return result

        return call

    for name, what in (("write_snapshot", "write"), ("point", "point"), ("prune", "prune")):
        monkeypatch.setattr(saving, name, recorded(what, getattr(saving, name)))
    engine = Engine()
    for step, best in ((1, 1), (2, 1), (3, 1), (4, 1)):
        writing.save(engine, step, best_step=best)
    writing.writer.settle(wait=True)
    assert order == ["write", "point best", "point last", "prune"] + 3 * ["write", "point last", "prune"]
    assert sorted(path.name for path in writing.root.glob("step-*")) == ["step-1", "step-3", "step-4"]
    assert pointed(writing.root, "best") == writing.root / "step-1"
    assert pointed(writing.root, "last") == writing.root / "step-4"


def refuse(*_: Any, **__: Any) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("asked", ["at a boundary", "by the next save", "at the end"])
def test_a_full_disk_in_the_thread_is_told_once_and_touches_nothing_older(
    writing: Writing, monkeypatch: pytest.MonkeyPatch, asked: str
) -> None:
    engine = Engine()
    writing.save(engine, 1, best_step=1)
    writing.writer.settle(wait=True)
    engine.weights += 1
    monkeypatch.setattr(snapshots, "write_synced", refuse)
    writing.save(engine, 2, best_step=2)  # the loop goes on
    with pytest.raises(StorageError, match="No space left") as caught:
        if asked == "at a boundary":
            while True:
                writing.writer.settle(wait=False)
        elif asked == "by the next save":
            writing.save(engine, 3)
        else:
            writing.writer.__exit__(None, None, None)
    assert "step-2" in str(caught.value)
    writing.writer.settle(wait=True)  # nothing more to tell
    assert writing.steps() == [1]
    assert values(writing.root, 1) == {0.0}
    assert sorted(path.name for path in writing.root.iterdir()) == ["best", "last", "step-1"]
    assert pointed(writing.root, "last") == pointed(writing.root, "best") == writing.root / "step-1"


def test_a_pointer_that_cannot_be_written_leaves_older_states(
    writing: Writing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No state is removed before the new one is whole and named."""
    engine = Engine()
    for step in (1, 2):
        writing.save(engine, step)
    writing.writer.settle(wait=True)

    def point(*_: Any) -> None:
        raise StorageError("cannot write: No space left on device")

    monkeypatch.setattr(saving, "point", point)
    writing.save(engine, 3)
    with pytest.raises(StorageError):
        writing.writer.settle(wait=True)
    assert sorted(path.name for path in writing.root.glob("step-*")) == ["step-1", "step-2", "step-3"]


def test_weights_that_are_no_numbers_are_told_and_not_written(writing: Writing) -> None:
    engine = Engine()
    engine.weights[7] = np.nan
    writing.save(engine, 5)
    with pytest.raises(NotFiniteError, match="the state after step 5 is not finite: backbone/w"):
        writing.writer.settle(wait=True)
    assert not list(writing.root.glob("*"))


@pytest.mark.parametrize(
    ("under_way", "told"),
    [
        (None, StorageError),
        (ZeroDivisionError("a bug"), ZeroDivisionError),
        (InterruptedRunError("stopped", signal_number=15), StorageError),
    ],
    ids=["nothing", "a failure", "an interruption"],
)
def test_the_end_waits_and_tells_what_matters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, under_way: Exception | None, told: type[Exception]
) -> None:
    """Of two failures the first is told; but a state that was promised to be saved must be."""
    one = Writing(tmp_path / "checkpoints", monkeypatch)
    monkeypatch.setattr(snapshots, "write_synced", refuse)
    one.gate.clear()
    threading.Timer(0.2, one.gate.set).start()
    with pytest.raises(told), one.writer:
        one.save(Engine(), 1)
        if under_way is not None:
            raise under_way
    assert one.gate.is_set()


def test_a_failure_waits_for_the_state_that_is_being_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = Writing(tmp_path / "checkpoints", monkeypatch)
    one.gate.clear()
    threading.Timer(0.2, one.gate.set).start()
    with pytest.raises(ZeroDivisionError), one.writer:
        one.save(Engine(), 1)
        raise ZeroDivisionError
    assert one.steps() == [1]
    assert values(one.root, 1) == {0.0}
    shutil.rmtree(one.root)
