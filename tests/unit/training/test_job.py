"""What a run remembers of the memory that it found, and what it advises where an evaluation has none."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from clue_runner.config.schema import Run
from clue_runner.engines.devices import Device
from clue_runner.errors import OutOfMemoryError
from clue_runner.runs import saving
from clue_runner.runs.events import EventLog, Save, Start, read_events, remembered_data
from clue_runner.runs.folder import RunFolder
from clue_runner.runs.identity import Identity
from clue_runner.runs.progress import Progress
from clue_runner.runs.states import read_snapshot
from clue_runner.training.evaluation import Predictor
from clue_runner.training.job import Job


@pytest.fixture
def make_job(tmp_path: Path, make_run: Callable[..., Run], fake: SimpleNamespace) -> Callable[[], Job]:
    """A job with nothing saved, in the folder of the one before it."""

    def make() -> Job:
        folder, console = RunFolder(tmp_path), fake.Console()
        setup = SimpleNamespace(
            run=make_run("train.evaluate_tokens=64"),
            adapter=SimpleNamespace(score=lambda *given: fake.Scores(50.0)),
            data=SimpleNamespace(records={"dev": []}),
            rows={"dev": SimpleNamespace(lengths=np.array([16, 8]), largest_group=1)},
            buckets=None,
            checkpoint=None,
            start_engine=lambda engine: engine,
            tokenizer=SimpleNamespace(vocab_bytes=b"[PAD]\n"),
            vocab_size=1,
            identity=Identity(),
            choices=SimpleNamespace(described=dict, device=Device("cpu", 0, "CPU", cores=1)),
        )
        parts: dict[str, Any] = {
            "setup": setup,
            "folder": folder,
            "engine": fake.Engine(),
            "progress": Progress(),
            "log": EventLog(folder.events, console),
            "console": console,
            "signals": None,
            "began": 0.0,
        }
        return Job(**parts)

    return make


@pytest.fixture
def holds(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Let evaluation batches of more than so many tokens fail."""

    def patch(tokens: int) -> None:
        def answer(self: Predictor, *given: Any) -> Any:
            if self.tokens > tokens:
                raise RuntimeError("RESOURCE_EXHAUSTED: Out of memory")
            return []

        monkeypatch.setattr(Predictor, "answer", answer)

    return patch


def test_what_memory_holds_survives_a_reload_and_a_kill(
    make_job: Callable[[], Job], holds: Callable[[int], None]
) -> None:
    holds(32)
    job = make_job()
    job.evaluate()
    job.warn("out of memory", token_budget=128)  # as the loop does
    assert (job.progress.evaluate_tokens, job.evaluating.tokens) == (32, 32)
    loaded = job.reload()
    assert (loaded.step, loaded.evaluate_tokens, loaded.token_budget) == (0, 32, 128)
    again = make_job()
    assert (again.progress.evaluate_tokens, again.progress.token_budget) == (32, 128)
    assert again.evaluating.tokens == again.predicting.tokens == 32


def test_a_reload_does_not_forget_where_the_data_came_from(make_job: Callable[[], Job]) -> None:
    """``clue predict`` and ``clue submit check`` ask the events for it afterwards."""
    job = make_job()
    job.log.write(Start(step=0, data="sample"))
    job.reload()
    assert remembered_data(job.folder.path) == "sample"


def test_an_evaluation_that_never_fits_is_not_advised_to_recompute(
    make_job: Callable[[], Job], holds: Callable[[int], None]
) -> None:
    """Recomputation is for the backward pass; an evaluation has none."""
    holds(0)
    with pytest.raises(OutOfMemoryError, match="one example of 16 tokens") as caught:
        make_job().evaluate()
    assert "data.max_length" in str(caught.value)
    assert "recompute" not in str(caught.value)


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """States are written when this is set, by a timer where a test waits for them."""
    gate, real = threading.Event(), saving.write_snapshot

    def write(*arguments: Any, **options: Any) -> Path:
        assert gate.wait(20)
        return real(*arguments, **options)

    monkeypatch.setattr(saving, "write_snapshot", write)
    return gate


def begin_save(job: Job, step: int) -> None:
    """Save the best state so far."""
    job.writer.prepare(job.engine.room())
    job.progress.step = job.progress.best_step = step
    job.save(job.progress, True)


def test_an_event_tells_of_a_state_when_it_is_whole(
    make_job: Callable[[], Job], slow: threading.Event
) -> None:
    job = make_job()
    with job.writer:
        begin_save(job, step=4)
        job.progress.step = 5
        job.settle_save(wait=False)
        assert read_events(job.folder.events) == []
        slow.set()
        job.settle_save(wait=True)
        (event,) = read_events(job.folder.events)
        assert isinstance(event, Save)
        assert (event.step, event.folder, event.best) == (4, "checkpoints/step-4", True)
    assert read_snapshot(job.folder.checkpoints / "step-4").state.progress.step == 4
    assert job.progress.seconds["write"] > 0
    assert job.progress.seconds["save"] > 0


@pytest.mark.parametrize("how", ["restore_best", "reload"])
def test_a_state_that_is_read_back_is_whole_first(
    make_job: Callable[[], Job], slow: threading.Event, how: str
) -> None:
    """The best weights, and the state after an update that memory did not hold, may be under way still."""
    job = make_job()
    with job.writer:
        begin_save(job, step=4)
        before = job.engine.get_state()
        job.engine.weights += 1
        job.progress.step = 5
        threading.Timer(0.2, slow.set).start()
        getattr(job, how)()
        assert all(np.array_equal(values, before[name]) for name, values in job.engine.get_state().items())
    assert job.progress.seconds["save"] > 0.1
