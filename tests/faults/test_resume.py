"""Kills and signals: whatever stops a run, the same command ends it as if nothing had happened."""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from clue_runner.runs.snapshots import LAST, list_snapshots, pointed
from clue_runner.runs.states import read_snapshot

pytestmark = pytest.mark.faults
SECONDS_TO_STOP = 7
# Where the later sittings of a run take place. The last one may choose kernels, by its name: it is said.
ELSEWHERE = {
    "PYTHONHASHSEED": "7",
    "TZ": "Asia/Kathmandu",
    "LC_ALL": "tr_TR.UTF-8",
    "PYTHONUTF8": "0",
    "TF_OF_NO_MEANING": "1",
}
# The same command, whose thread takes a second for each state: its manifest is written last.
SLOW_SAVES = """
import sys, time
from clue_runner.cli import main
from clue_runner.runs import snapshots
real = snapshots.write_manifest
def write(folder):
    time.sleep(1)
    real(folder)
snapshots.write_manifest = write
main.main(sys.argv[1:])
"""


@pytest.fixture(scope="module")
def settings(check_resume: ModuleType) -> dict[str, object]:
    """Padded rows, micro-batches, bfloat16, recomputation and DropToken: each draws or rounds its own way."""
    chosen = {"train.epochs": 2, "data.max_length": 32, **check_resume.TECHNIQUES}
    return {key.replace(".", "__"): value for key, value in chosen.items()}


@pytest.fixture(scope="module")
def unbroken(
    tmp_path_factory: pytest.TempPathFactory, command: Callable[..., Any], settings: dict[str, object]
) -> Any:
    """A run that nothing has stopped."""
    whole = command(tmp_path_factory.mktemp("runs") / "unbroken", **settings)
    said = whole.finish()
    assert said.startswith("model test: random weights, not a pre-trained model\n")
    metrics = json.loads((whole.folder / "metrics.json").read_text(encoding="utf-8"))
    assert (metrics["precision"], metrics["steps"]) == ("bfloat16", 20)
    assert metrics["padding_share"] > 0.02
    return whole


def test_kills_and_signals_change_nothing(
    tmp_path: Path,
    command: Callable[..., Any],
    unbroken: Any,
    settings: dict[str, object],
    check_resume: ModuleType,
) -> None:
    """Three kills -9, a SIGTERM and a SIGINT in one run, a second process sent away, other surroundings."""
    moment = check_resume.Moment
    broken = command(tmp_path / "broken", **settings)
    code, output = broken.stop(moment(3, "save", 0.01), signal.SIGKILL)  # in the steps
    assert code == -signal.SIGKILL, output
    code, output = _stop_by_signal(broken, moment, 6, signal.SIGTERM)
    assert code == 143
    assert "run the same command again to continue" in output
    assert "SIGTERM" in output
    assert "Traceback" not in output
    broken.environment |= ELSEWHERE
    code, output = broken.stop(moment(10, "evaluate"), signal.SIGKILL)  # in the save after an evaluation
    assert "TF_OF_NO_MEANING: was not set, is now 1" in output
    assert code == -signal.SIGKILL
    code, _ = broken.stop(moment(13, "step"), signal.SIGINT)
    assert code == 130
    code, _ = broken.stop(moment(20, "save"), signal.SIGKILL)  # in the predictions
    assert code in {-signal.SIGKILL, 0}
    broken.finish()
    assert check_resume.differences(check_resume.contents(unbroken), check_resume.contents(broken)) == []

    events = events_of(check_resume, broken.folder)
    resumed = [event["step"] for event in events if event["event"] == "resume"]
    assert len(resumed) >= 4
    assert resumed == sorted(resumed)
    assert resumed[0] > 0  # from a saved state each time
    assert events[-1]["event"] == "result"


def _stop_by_signal(command: Any, moment: Any, step: int, number: int) -> tuple[int, str]:
    """Stop a run as a person or a scheduler does; until it is gone it keeps its folder."""
    process = command.start()
    moment(step, "step").wait(process, command.folder, command.events_size())
    process.send_signal(signal.SIGSTOP)  # so that it does not end while a second one starts
    second = command.start()
    output, _ = second.communicate(timeout=60)
    assert second.returncode == 9, output
    assert f"process {process.pid} on " in output
    process.send_signal(number)
    started = time.monotonic()
    process.send_signal(signal.SIGCONT)
    output, _ = process.communicate(timeout=60)
    assert time.monotonic() - started < SECONDS_TO_STOP
    return process.returncode, output


def test_stops_while_a_state_is_written_change_nothing(
    tmp_path: Path,
    command: Callable[..., Any],
    unbroken: Any,
    settings: dict[str, object],
    check_resume: ModuleType,
) -> None:
    """A kill -9 leaves the state before; SIGTERM waits for this one; a run ends when its last is whole."""
    inside, half_written = check_resume.InSave, check_resume.half_written
    broken = command(tmp_path / "broken", **settings)
    usual = broken.arguments
    broken.arguments = [sys.executable, "-c", SLOW_SAVES, *usual[3:]]

    code, output = broken.stop(inside(4, None, 0.3), signal.SIGKILL)
    assert code == -signal.SIGKILL, output
    assert half_written(broken.folder) == [6]
    assert last_state(broken.folder) == 3
    events = events_of(check_resume, broken.folder)
    assert [event["step"] for event in events if event["event"] == "save"] == [3]
    assert max(event["step"] for event in events if event["event"] == "step") > 6  # the loop has gone on

    code, output = broken.stop(inside(7), signal.SIGTERM)
    assert code == 143, output
    assert half_written(broken.folder) == []
    stopped = last_state(broken.folder)
    assert stopped >= 9
    assert f"step {stopped}; the state is saved" in output

    code, output = broken.stop(inside(20), signal.SIGKILL)  # the test file is being answered
    assert code == -signal.SIGKILL, output
    assert half_written(broken.folder) == [20]
    assert last_state(broken.folder) < 20
    assert not (broken.folder / "metrics.json").exists()

    broken.arguments = usual
    broken.finish()
    assert check_resume.differences(check_resume.contents(unbroken), check_resume.contents(broken)) == []


def events_of(check_resume: ModuleType, folder: Path) -> list[dict[str, Any]]:
    """Return the complete lines of the event log."""
    return [json.loads(line) for line in check_resume.events_bytes(folder).split(b"\n")[:-1]]


def last_state(folder: Path) -> int:
    """Return the step of the state that ``last`` names, which must be whole and the newest."""
    named = pointed(folder / "checkpoints", LAST)
    assert named is not None
    assert named == list_snapshots(folder / "checkpoints")[0]
    return read_snapshot(named).step


def test_negative_control(
    tmp_path: Path,
    command: Callable[..., Any],
    unbroken: Any,
    settings: dict[str, object],
    check_resume: ModuleType,
    backend: str,
) -> None:
    """A saved state that was altered with a fresh manifest must show: else the comparison proves nothing."""
    if backend != "tensorflow":
        pytest.skip("about the comparison, whatever the backend")
    altered = command(tmp_path / "altered", **settings)
    altered.stop(check_resume.Moment(9, "save"), signal.SIGKILL)
    check_resume.alter_saved_state(altered.folder)
    altered.finish()
    wrong = check_resume.differences(check_resume.contents(unbroken), check_resume.contents(altered))
    assert "run 1: last" in wrong
