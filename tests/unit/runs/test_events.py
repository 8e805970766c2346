"""``events.jsonl``: what is written, what counts when it is read, and every line that is no event."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from clue_runner.errors import CheckpointError, StorageError
from clue_runner.runs.events import (
    Drop,
    Evaluate,
    EventLog,
    Failed,
    Result,
    Resume,
    Save,
    Start,
    Step,
    Warned,
    events_schema,
    read_events,
    remembered_data,
)


def step(number: int, loss: float = 1.0) -> Step:
    return Step(step=number, epoch=1, loss=loss, learning_rate=1e-5, gradient_norm=0.5)


def test_one_object_a_line_with_schema_and_time(tmp_path: Path, fake: SimpleNamespace) -> None:
    console = fake.Console()
    with EventLog(tmp_path / "events.jsonl", console) as log:
        log.write(Start(step=0, task="蚂蚁\u2028"))
        log.write(Warned(message="said already"), echo=False)
    raw = (tmp_path / "events.jsonl").read_bytes()
    events = [json.loads(line) for line in raw.split(b"\n")[:-1]]
    assert [one["event"] for one in events] == ["start", "warning"]
    assert all(one["schema"] == 2 and one["time"].endswith("+00:00") for one in events)
    assert [one["event"] for one in console.events] == ["start"]
    assert console.events[0]["task"] == "蚂蚁\u2028"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_full_disk_stops_the_run_and_the_log_goes_on_later(tmp_path: Path, fake: SimpleNamespace) -> None:
    path = tmp_path / "events.jsonl"
    log = EventLog(path, fake.Console())
    log.write(step(1))
    log._file.close()
    log._file = Path("/dev/full").open("ab")  # noqa: SIM115 - the log closes it
    with pytest.raises(StorageError, match=r"No space left.* bytes to write") as caught, log:
        log.write(step(2))
    assert caught.value.exit_code == 8 and str(path) in str(caught.value)
    with EventLog(path, fake.Console()) as again:
        again.write(step(2))
    assert [one.step for one in read_events(path) if isinstance(one, Step)] == [1, 2]


def test_a_full_disk_hides_no_other_failure(tmp_path: Path, fake: SimpleNamespace) -> None:
    log = EventLog(tmp_path / "events.jsonl", fake.Console())
    log._file.close()
    log._file = Path("/dev/full").open("ab")  # noqa: SIM115 - the log closes it
    log._file.write(b"kept back")
    with pytest.raises(KeyError, match="the first failure"), log:
        raise KeyError("the first failure")


def test_every_event_comes_back(
    tmp_path: Path, fake: SimpleNamespace, make_result: Callable[..., Any]
) -> None:
    written = [
        Start(step=0, task="afqmc", data=None, data_sha256={"train": "a"}),
        step(1),
        Evaluate(step=1, epoch=1, score=50.0, scores={"accuracy": 50.0}, loss=None, best=True),
        Save(step=1, folder="checkpoints/step-1", best=True),
        Drop(step=1, learning_rate=1e-6),
        Warned(message="out of memory", token_budget=64),
        Failed(message="stopped", exit_code=143),
        Resume(step=1, data="/a/数据"),
        Result.model_validate(make_result().to_json()),
    ]
    with EventLog(tmp_path / "events.jsonl", fake.Console()) as log:
        for event in written:
            log.write(event)
    kept = read_events(tmp_path / "events.jsonl")
    fields = [event.model_dump(exclude={"time", "schema_"}) for event in kept]
    assert fields == [
        event.model_dump(exclude={"time", "schema_"}) for event in written if not isinstance(event, Drop)
    ]


def test_the_schema_describes_every_event_and_field() -> None:
    schema = events_schema()
    assert set(schema["discriminator"]["mapping"]) == {
        "prepare", "start", "step", "evaluate", "save", "resume", "warning", "drop", "error", "result",
    }  # fmt: skip
    for name in ("Start", "Resume", "Step", "Evaluate", "Save", "Drop", "Warned", "Failed"):
        kind = schema["$defs"][name]
        assert kind["description"]
        undescribed = {key for key, field in kind["properties"].items() if not field.get("description")}
        assert undescribed <= {"event"}
    assert "scores" in schema["$defs"]["Result"]["properties"]


def test_a_resume_supersedes_later_steps(tmp_path: Path, fake: SimpleNamespace) -> None:
    path = tmp_path / "events.jsonl"
    with EventLog(path, fake.Console()) as log:
        log.write(Start(step=0))
        for number in (1, 2, 3):
            log.write(step(number))
        log.write(Evaluate(step=3, epoch=1, score=1.0, scores={}, loss=None, best=True))
        log.write(Warned(message="kept"))
        log.write(Resume(step=1))
        log.write(step(2, loss=2.0))
    kept = [(one.event, getattr(one, "step", None), getattr(one, "loss", None)) for one in read_events(path)]
    assert kept == [
        ("start", 0, None),
        ("step", 1, 1.0),
        ("warning", None, None),
        ("resume", 1, None),
        ("step", 2, 2.0),
    ]


def test_a_drop_is_done_again_after_a_resume_from_its_own_step(tmp_path: Path, fake: SimpleNamespace) -> None:
    with EventLog(tmp_path / "events.jsonl", fake.Console()) as log:
        log.write(Save(step=4, folder="checkpoints/step-4", best=False))
        log.write(Drop(step=4, learning_rate=None))
        log.write(Resume(step=4))
        log.write(Drop(step=4, learning_rate=None))
        log.write(Resume(step=5))
    assert [one.event for one in read_events(tmp_path / "events.jsonl")] == [
        "save", "resume", "drop", "resume",
    ]  # fmt: skip


def test_a_line_cut_off_by_a_kill_is_dropped(tmp_path: Path, fake: SimpleNamespace) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(b'{"event": "start", "step": 0}\n{"event": "st')
    assert [one.event for one in read_events(path)] == ["start"]
    with EventLog(path, fake.Console()) as log:
        log.write(Resume(step=0))
    assert [one.event for one in read_events(path)] == ["start", "resume"]
    assert path.read_bytes().count(b"\n") == 2


NO_EVENTS = {
    "a list": b"[1, 2]",
    "a number": b"7",
    "null": b"null",
    "text": b'"start"',
    "not JSON": b"start",
    "not UTF-8": b'{"event": "start", "step": 0, "task": "\xff\xfe"}',
    "nested without end": b"[" * 200_000,
    "no name": b'{"step": 3}',
    "a name that is a list": b'{"event": ["start"], "step": 3}',
    "of a later version": b'{"event": "teleport", "schema": 9, "step": 3}',
    "a step that is text": b'{"event": "step", "step": "three"}',
    "a resume without a step": b'{"event": "resume"}',
    "a huge number": b'{"event": "start", "step": ' + b"9" * 5000 + b"}",
    "a result of a later version": b'{"event": "result", "schema": 9, "ok": true}',
}


@pytest.mark.parametrize("kind", NO_EVENTS)
def test_lines_that_are_no_events_are_passed_over(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(
        b'{"event": "start", "step": 0, "data": "d"}\n'
        + NO_EVENTS[kind]
        + b'\n{"event": "resume", "step": 0}\n'
    )
    assert [one.event for one in read_events(path)] == ["start", "resume"]
    assert remembered_data(tmp_path) == "d"


def test_no_file_no_events(tmp_path: Path) -> None:
    assert read_events(tmp_path / "none") == []


def test_a_folder_in_the_place_of_the_file(tmp_path: Path, fake: SimpleNamespace) -> None:
    (tmp_path / "events.jsonl").mkdir()
    with pytest.raises(CheckpointError, match=r"events\.jsonl.*a folder"):
        read_events(tmp_path / "events.jsonl")
    with pytest.raises(CheckpointError, match=r"events\.jsonl.*a folder"):
        EventLog(tmp_path / "events.jsonl", fake.Console())


def test_nan_is_refused() -> None:
    with pytest.raises(ValueError, match="finite"):
        step(1, loss=float("nan"))


# ---------------------------------------------------------------------------- where the data came from


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([], None),
        ([Start(step=0, data="/a")], "/a"),
        ([Start(step=0, data=None)], None),
        ([Start(step=0, data="/a"), Resume(step=3, reason="out of memory")], "/a"),
        ([Start(step=0, data="/a"), Resume(step=3, data="/b")], "/b"),
        ([Start(step=0, data="/a"), Resume(step=3, data="/b"), Resume(step=3, reason="out of memory")], "/b"),
        ([Start(step=0, data="/a"), Resume(step=3, data=None)], None),
        ([Start(step=0, data="/data/\udcff\udcfe")], "/data/\udcff\udcfe"),
    ],
)
def test_the_data_of_the_last_sitting(
    tmp_path: Path, fake: SimpleNamespace, events: list[Any], expected: str | None
) -> None:
    with EventLog(tmp_path / "events.jsonl", fake.Console()) as log:
        for event in events:
            log.write(event)
    assert remembered_data(tmp_path) == expected


def test_an_older_version_wrote_the_reload_without_data(tmp_path: Path) -> None:
    (tmp_path / "events.jsonl").write_bytes(
        b'{"event": "start", "schema": 1, "time": "t", "step": 0, "data": "sample"}\n'
        b'{"event": "resume", "schema": 1, "time": "t", "step": 4, "reason": "out of memory"}\n'
    )
    assert remembered_data(tmp_path) == "sample"
