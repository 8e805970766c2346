"""What happened in a run, one JSON object a line.

Names: start, step, evaluate, save, resume, warning, error, result.

In: events as mappings. Out: ``events.jsonl``, and the same on stdout under ``--json``.
After a crash the steps since the last saved state are done again: a ``resume`` event says from where,
and ``read_events`` leaves out what it supersedes. Knows nothing about training.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from clue_runner.files.atomic import disk_faults

SCHEMA = 1
STEPPED = frozenset({"step", "evaluate", "save"})  # events that belong to an update and can be superseded


class EventSink(Protocol):
    """Where else events go: the console, which prints them under ``--json``."""

    def event(self, event: Mapping[str, object]) -> None:
        """Take one event."""


class EventLog:
    """Appends events to a file and passes them on; also a context manager."""

    def __init__(self, path: Path, sink: EventSink) -> None:
        """Open the file, after cutting off a line that a kill left unfinished.

        Raises:
            StorageError: it cannot be written.
        """
        self.path = path
        self._sink = sink
        with disk_faults(path):
            _drop_unfinished_line(path)
            self._file = path.open("ab")

    def write(self, event: str, *, echo: bool = True, **fields: Any) -> None:
        """Append one event with its time and schema.

        Args:
            event: its name.
            echo: also pass it on; False for what the console has said itself.
            **fields: what JSON can hold.

        Raises:
            StorageError: the disk refused.
        """
        entry: dict[str, object] = {"event": event, "schema": SCHEMA, "time": _now(), **fields}
        line = json.dumps(entry, ensure_ascii=False, allow_nan=False) + "\n"
        with disk_faults(self.path):
            self._file.write(line.encode())
            self._file.flush()
        if echo:
            self._sink.event(entry)

    def close(self) -> None:
        """Close the file."""
        with disk_faults(self.path):
            self._file.close()

    def __enter__(self) -> EventLog:
        """Return the log itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file."""
        self.close()


def read_events(path: Path) -> list[Mapping[str, Any]]:
    """Return the events that count, in order; superseded steps and an unfinished last line are left out."""
    events: list[Mapping[str, Any]] = []
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return []
    for line in lines:
        try:
            event = json.loads(line)
        except ValueError:
            continue  # the empty end, or a line that a kill cut off
        if event.get("event") == "resume":
            events = [
                old for old in events if old["event"] not in STEPPED or int(old["step"]) <= int(event["step"])
            ]
        events.append(event)
    return events


def _drop_unfinished_line(path: Path) -> None:
    """Cut the file after its last newline."""
    if not path.exists():
        return
    data = path.read_bytes()
    end = data.rfind(b"\n") + 1
    if end != len(data):
        os.truncate(path, end)


def _now() -> str:
    """Return the time in UTC, for people; durations are measured elsewhere, by a clock that cannot jump."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
