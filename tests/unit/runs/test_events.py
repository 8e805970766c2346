from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from clue_runner.runs.events import EventLog, read_events


def test_one_object_a_line_with_schema_and_time(tmp_path: Path, fake: SimpleNamespace) -> None:
    console = fake.Console()
    with EventLog(tmp_path / "events.jsonl", console) as log:
        log.write("start", task="蚂蚁\u2028")
        log.write("warning", echo=False, message="said already")
    raw = (tmp_path / "events.jsonl").read_bytes()
    events = [json.loads(line) for line in raw.split(b"\n")[:-1]]
    assert [one["event"] for one in events] == ["start", "warning"]
    assert all(one["schema"] == 1 and one["time"].endswith("+00:00") for one in events)
    assert [one["event"] for one in console.events] == ["start"]
    assert console.events[0]["task"] == "蚂蚁\u2028"


def test_a_resume_supersedes_later_steps(tmp_path: Path, fake: SimpleNamespace) -> None:
    path = tmp_path / "events.jsonl"
    with EventLog(path, fake.Console()) as log:
        log.write("start", step=0)
        for step in (1, 2, 3):
            log.write("step", step=step, loss=1.0)
        log.write("evaluate", step=3)
        log.write("warning", message="kept")
        log.write("resume", step=1)
        log.write("step", step=2, loss=2.0)
    kept = [(one["event"], one.get("step"), one.get("loss")) for one in read_events(path)]
    assert kept == [
        ("start", 0, None),
        ("step", 1, 1.0),
        ("warning", None, None),
        ("resume", 1, None),
        ("step", 2, 2.0),
    ]


def test_a_line_cut_off_by_a_kill_is_dropped(tmp_path: Path, fake: SimpleNamespace) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(b'{"event": "start"}\n{"event": "st')
    assert [one["event"] for one in read_events(path)] == ["start"]
    with EventLog(path, fake.Console()) as log:
        log.write("resume", step=0)
    assert [one["event"] for one in read_events(path)] == ["start", "resume"]
    assert path.read_bytes().count(b"\n") == 2


def test_no_file_no_events(tmp_path: Path) -> None:
    assert read_events(tmp_path / "none") == []


def test_nan_is_refused(tmp_path: Path, fake: SimpleNamespace) -> None:
    with EventLog(tmp_path / "e", fake.Console()) as log, pytest.raises(ValueError, match="JSON"):
        log.write("step", loss=float("nan"))
