"""Signals and streams need no listener: a run obeys and fails as it should though nobody reads it."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clue_runner.runs.events import Failed, read_events

pytestmark = pytest.mark.faults
Train = Callable[..., Any]

START_UP = """
import sys, time
from clue_runner.cli import main
from clue_runner.commands import train_run
def wait(*given):
    print("ready", flush=True)
    time.sleep(60)
train_run.read_inputs = wait
main.main(["train", "--task", "afqmc", "--data", "sample", "--model", "test", "--output", sys.argv[1]])
"""


class Gone(io.StringIO):
    """A standard error whose reader has gone."""

    def write(self, text: str) -> int:
        raise BrokenPipeError(32, "Broken pipe")


def in_phase(phase: str, backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let SIGTERM arrive at the beginning of a phase of the run."""
    from clue_runner.training import run
    from clue_runner.training.job import Job
    from clue_runner.training.loop import Loop

    owner, name = {"training": (Loop, "_step"), "evaluation": (Job, "evaluate"), "finish": (run, "finish")}[
        phase
    ]
    real = getattr(owner, name)
    sent: list[Job] = []

    def first_a_signal(one: Any, *given: Any) -> Any:
        job = getattr(one, "_signals", None) or one.signals
        if not sent and (phase != "training" or one.progress.step == 1):
            sent.append(one)
            signal.raise_signal(signal.SIGTERM)
            deadline = time.monotonic() + 10
            while job.requested is None:
                assert time.monotonic() < deadline, "the signal was swallowed"
                time.sleep(0.01)
        return real(one, *given)

    monkeypatch.setattr(owner, name, first_a_signal)


@pytest.mark.parametrize(
    ("phase", "where"),
    [
        ("training", "at epoch 1, step 2; the state is saved"),
        ("evaluation", "during the evaluation of step 10; the state is saved"),
        ("finish", "while predicting"),
    ],
)
def test_a_signal_is_obeyed_in_every_phase(
    phase: str,
    where: str,
    tmp_path: Path,
    backend: str,
    train_here: Train,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as broken:
        in_phase(phase, backend, broken)
        broken.setattr(sys, "stderr", Gone())
        assert train_here(tmp_path / "r").exit_code == 143
    (failed,) = [event for event in read_events(tmp_path / "r" / "events.jsonl") if isinstance(event, Failed)]
    assert failed.exit_code == 143
    assert failed.message.startswith(f"stopped by SIGTERM {where}")
    assert train_here(tmp_path / "r").exit_code == 0


def test_a_signal_in_start_up_is_obeyed(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", START_UP, str(tmp_path / "r")], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stderr.close()
    try:
        while process.stdout.readline() not in {b"ready\n", b""}:
            pass
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == 143
    finally:
        process.kill()
        process.stdout.close()


def closed(*descriptors: int) -> Callable[[], None]:
    """Return what closes standard streams in a child before it begins."""

    def close() -> None:
        for descriptor in descriptors:
            os.close(descriptor)

    return close


@pytest.mark.parametrize("descriptors", [(1,), (2,), (0, 1, 2)])
@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("tasks", "--json"), 0),
        (("tsks",), 2),
        (("train", "--task", "afqmc", "--data", "/nowhere", "--json"), 3),
    ],
)
def test_closed_streams_change_no_exit_code(
    descriptors: tuple[int, ...], arguments: tuple[str, ...], code: int, tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "clue_runner", *arguments],
        preexec_fn=closed(*descriptors),
        env={**os.environ, "CLUE_HOME": str(tmp_path)},
        check=False,
    )
    assert done.returncode == code


@pytest.mark.parametrize(("arguments", "code"), [(("tsks",), 2), (("models", "show", "tny"), 2)])
def test_a_mistake_is_a_mistake_though_nobody_reads_it(arguments: tuple[str, ...], code: int) -> None:
    for broken in ("stdout", "stderr"):
        reader, writer = os.pipe()
        os.close(reader)
        streams: dict[str, Any] = {broken: writer}
        done = subprocess.run(
            [sys.executable, "-m", "clue_runner", *arguments, "--json"], **streams, check=False
        )
        os.close(writer)
        assert done.returncode == code, broken
