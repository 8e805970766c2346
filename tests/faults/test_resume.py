"""Kills and signals: whatever stops a run, the same command ends it as if nothing had happened."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

pytestmark = pytest.mark.faults
SECONDS_TO_STOP = 7


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory, command: Callable[..., Any]) -> Any:
    """A run that nothing has stopped."""
    whole = command(tmp_path_factory.mktemp("runs") / "unbroken")
    said = whole.finish()
    assert said.startswith("model test: random weights, not a pretrained model\n")
    return whole


def test_kills_and_signals_change_nothing(
    tmp_path: Path, command: Callable[..., Any], unbroken: Any, check_resume: ModuleType
) -> None:
    """Three kills -9, a SIGTERM and a SIGINT in one run, and a second process that is sent away."""
    moment = check_resume.Moment
    expected, total = check_resume.content(unbroken.folder), check_resume.total_steps(unbroken.folder)
    assert total == 30

    broken = command(tmp_path / "broken")
    code, _ = broken.stop(moment(4, "step", 0.01), signal.SIGKILL)  # in the steps
    assert code == -signal.SIGKILL
    code, output = _stop_by_signal(broken, moment, 6, signal.SIGTERM)
    assert code == 143
    assert "run the same command again to continue" in output
    assert "SIGTERM" in output
    assert "Traceback" not in output
    code, _ = broken.stop(moment(20, "evaluate"), signal.SIGKILL)  # in the save after an evaluation
    assert code == -signal.SIGKILL
    code, output = _stop_by_signal(broken, moment, 21, signal.SIGINT)
    assert code == 130
    code, _ = broken.stop(moment(total, "save"), signal.SIGKILL)  # in the predictions
    assert code in {-signal.SIGKILL, 0}
    broken.finish()
    assert check_resume.differences(expected, check_resume.content(broken.folder)) == []

    events = [json.loads(line) for line in (broken.folder / "events.jsonl").read_bytes().split(b"\n")[:-1]]
    assert sum(event["event"] == "resume" for event in events) >= 4
    assert events[-1]["event"] == "result"
    assert broken.finish().count("this run has already finished") == 1


def test_kills_change_nothing_with_padding_and_every_technique(
    tmp_path: Path, command: Callable[..., Any], check_resume: ModuleType
) -> None:
    """Padded rows, micro-batches, bfloat16, recomputation and DropToken: each draws or rounds its own way."""
    settings = {"train.epochs": 2, "data.max_length": 32, **check_resume.TECHNIQUES}
    settings = {key.replace(".", "__"): value for key, value in settings.items()}
    whole = command(tmp_path / "whole", **settings)
    whole.finish()
    metrics = json.loads((whole.folder / "metrics.json").read_text(encoding="utf-8"))
    assert (metrics["precision"], metrics["steps"]) == ("bfloat16", 20)
    assert metrics["padding_share"] > 0.02
    broken = command(tmp_path / "broken", **settings)
    for step in (4, 13):
        code, output = broken.stop(check_resume.Moment(step, "step"), signal.SIGKILL)
        assert code == -signal.SIGKILL, output
    broken.finish()
    assert check_resume.differences(check_resume.contents(whole), check_resume.contents(broken)) == []
    events = [json.loads(line) for line in check_resume.events_bytes(broken.folder).split(b"\n")[:-1]]
    resumed = [event["step"] for event in events if event["event"] == "resume"]
    assert len(resumed) == 2
    assert 0 < resumed[0] < resumed[1] < 20  # from a saved state each time


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


def test_negative_control(
    tmp_path: Path, command: Callable[..., Any], unbroken: Any, check_resume: ModuleType
) -> None:
    """A saved state that was altered with a fresh manifest must show: else the comparison proves nothing."""
    altered = command(tmp_path / "altered")
    altered.stop(check_resume.Moment(9, "save"), signal.SIGKILL)
    check_resume.alter_saved_state(altered.folder)
    altered.finish()
    wrong = check_resume.differences(
        check_resume.content(unbroken.folder), check_resume.content(altered.folder)
    )
    assert "last" in wrong
