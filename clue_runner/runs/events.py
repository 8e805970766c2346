"""The events of a run: one type for each kind of event, one JSON object per line.

In: events. Out: ``events.jsonl``, the same on stdout with ``--json``, and the valid events of a file.
After a crash the steps since the last saved state are repeated: a ``resume`` event says from where, and
``read_events`` leaves out what it supersedes. Lines that are not events are skipped: a later version
may have written them, or a kill truncated them. Knows nothing about training.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from clue_runner.console.text import utc_now
from clue_runner.errors import CheckpointError
from clue_runner.files.atomic import disk_faults, json_bytes
from clue_runner.files.reading import DamagedFileError, parse_object, read_file
from clue_runner.runs.results import SCHEMA, Part, RunResult, parse_result

LIMIT = 1024**3


class Event(Part):
    """Base of all events: its name, its schema, and when it was written."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    event: str
    """The kind of event."""
    schema_: Annotated[int, Field(alias="schema")] = SCHEMA
    """Version of this description; 1 is read too."""
    time: str = ""
    """UTC, ISO 8601 with milliseconds; for people, since a clock can jump."""


class Prepare(Event):
    """The options are valid; files are being read. Only with ``--json``, never in ``events.jsonl``."""

    event: Literal["prepare"] = "prepare"
    task: str
    """Name of the task card."""
    model: str
    """``model.name`` of the settings."""


class Sitting(Event):
    """A process starts to work on the run."""

    step: int
    """Updates done before this sitting."""
    task: str | None = None
    """Name of the task card."""
    card_version: str | None = None
    """Version of the task card."""
    model: str | None = None
    """``model.name`` of the settings."""
    seed: int | None = None
    """Seed of the run."""
    backend: str | None = None
    """tensorflow or jax."""
    devices: int | None = None
    """How many devices share each batch."""
    data: str | None = None
    """``--data`` as an absolute path, or "sample"; null if the default place was used."""
    data_sha256: dict[str, str] = {}
    """Split -> SHA-256 of its file."""
    config_sha256: str | None = None
    """SHA-256 of all settings."""


class Start(Sitting):
    """The first sitting of a run."""

    event: Literal["start"] = "start"
    step: int = 0
    """Always 0."""


class Resume(Sitting):
    """The run continues from a saved state: earlier events about later steps are superseded."""

    event: Literal["resume"] = "resume"
    reason: str | None = None
    """Why within the same process ("out of memory"); the sitting's other fields are then left out."""


class Stepped(Event):
    """Base of events that belong to an update."""

    step: int
    """Updates done."""


class Step(Stepped):
    """Means over the updates since the previous step event; about 200 in a run."""

    event: Literal["step"] = "step"
    epoch: int
    """The epoch, from 1."""
    loss: float
    """Train loss, weighted by examples."""
    learning_rate: float
    """Learning rate of this update."""
    gradient_norm: float
    """Global gradient norm of this update, before clipping."""
    examples_per_second: float | None = None
    """Speed since the sitting began; null while the time is too short to tell."""


class Evaluate(Stepped):
    """Dev was scored."""

    event: Literal["evaluate"] = "evaluate"
    epoch: int
    """The epoch, from 1."""
    score: float
    """The main score in percent."""
    scores: dict[str, float]
    """All scores in percent."""
    loss: float | None
    """Train loss since the previous evaluation."""
    best: bool
    """Whether it is the best so far."""


class Save(Stepped):
    """A state was saved."""

    event: Literal["save"] = "save"
    folder: str
    """Its folder, relative to the run folder."""
    best: bool
    """Whether it belongs to the best evaluation so far."""


class Drop(Stepped):
    """The best weights were restored and training continues at a lower learning rate."""

    event: Literal["drop"] = "drop"
    learning_rate: float | None
    """Learning rate from here on."""


class Warned(Event):
    """A warning to the user that did not stop the run."""

    event: Literal["warning"] = "warning"
    message: str
    """The text of the message."""
    step: int | None = None
    """Updates done, if it is about one."""
    token_budget: int | None = None
    """Tokens in a micro-batch that were found to fit into memory."""
    evaluate_tokens: int | None = None
    """Tokens in a prediction batch that were found to fit into memory."""


class Failed(Event):
    """The sitting ended without a result: a failure, or a signal."""

    event: Literal["error"] = "error"
    message: str
    """The text of the message."""
    exit_code: int
    """Exit code of the process."""


class Result(RunResult):
    """The run has finished: the fields of metrics.json."""

    event: Literal["result"] = "result"
    time: str = ""


AnyEvent = Prepare | Start | Resume | Step | Evaluate | Save | Drop | Warned | Failed | Result
_EVENTS: TypeAdapter[AnyEvent] = TypeAdapter(Annotated[AnyEvent, Field(discriminator="event")])


class EventSink(Protocol):
    """A further receiver of events: the console, which prints them with ``--json``."""

    def event(self, event: Mapping[str, object]) -> None:
        """Take one event."""


class EventLog(AbstractContextManager["EventLog"]):
    """Appends events to a file and passes them on; also a context manager."""

    def __init__(self, path: Path, sink: EventSink) -> None:
        """Open the file, after removing a line that a kill left unfinished.

        Raises:
            CheckpointError: the path holds something other than a file.
            StorageError: it cannot be written.
        """
        self.path = path
        self._sink = sink
        _drop_unfinished_line(path)
        with disk_faults(path):
            self._file = path.open("ab")

    def write(self, event: AnyEvent, *, echo: bool = True) -> None:
        """Append one event with its time and schema; fields that were not given are left out.

        Args:
            event: what happened.
            echo: also pass it on; False for what the console has already printed.

        Raises:
            StorageError: the disk refused.
        """
        fields = event.model_dump(mode="json", by_alias=True, exclude_unset=not isinstance(event, Result))
        entry = {"event": event.event, "schema": SCHEMA, **fields, "time": utc_now()}
        line = json_bytes(entry)
        with disk_faults(self.path, len(line)):
            self._file.write(line)
            self._file.flush()
        if echo:
            self._sink.event(entry)

    def __exit__(self, *raised: object) -> None:
        """Close the file; a line that a full disk did not take is no second error."""
        with suppress(OSError) if raised[0] is not None else disk_faults(self.path):
            self._file.close()


def read_events(path: Path) -> list[AnyEvent]:
    """Return the valid events, in order; superseded ones and other lines are left out.

    Raises:
        CheckpointError: the path holds something other than a file.
        StorageError: it cannot be read now.
    """
    events: list[AnyEvent] = []
    for line in _read(path).split(b"\n"):
        event = parse_event(line)
        if isinstance(event, Resume):
            events = [old for old in events if not _superseded(old, event.step)]
        if event is not None:
            events.append(event)
    return events


def remembered_data(folder: Path) -> str | None:
    """Return the ``--data`` of the last sitting in a run folder; None if it had none, or none is known.

    Raises:
        CheckpointError, StorageError: as ``read_events``.
    """
    given = [
        event.data
        for event in read_events(folder / "events.jsonl")
        # After an out-of-memory reload the sitting continues, and its resume event has no data field.
        if isinstance(event, Sitting) and "data" in event.model_fields_set
    ]
    return given[-1] if given else None


def parse_event(line: bytes) -> AnyEvent | None:
    """Return the event on a line; None for any other line."""
    try:
        content = parse_object(line)
        if content.get("event") == "result":
            known = parse_result(content).model_dump(by_alias=True)
            content = {**known, "event": "result", "time": content.get("time", "")}
        return _EVENTS.validate_python(content)
    except (DamagedFileError, ValidationError):
        return None


def events_schema() -> dict[str, Any]:
    """Return the JSON Schema of one line of ``events.jsonl``."""
    return _EVENTS.json_schema(by_alias=True, mode="serialization")


def _superseded(event: AnyEvent, step: int) -> bool:
    """Return whether an event is repeated by a run that continues from a state saved at ``step``."""
    if isinstance(event, Drop):  # done between two updates, after the state of its step was saved
        return event.step >= step
    return isinstance(event, Stepped) and event.step > step


def _read(path: Path) -> bytes:
    """Return the file's bytes; none if there is no file."""
    try:
        return read_file(path, LIMIT)
    except FileNotFoundError:
        return b""
    except DamagedFileError as error:
        raise CheckpointError(
            f"the list of events of this run {error}",
            where=str(path),
            next_step="move it away, or train into another folder with --output",
        ) from error


def _drop_unfinished_line(path: Path) -> None:
    """Truncate the file after its last newline."""
    content = _read(path)
    end = content.rfind(b"\n") + 1
    if end != len(content):
        with disk_faults(path):
            os.truncate(path, end)
