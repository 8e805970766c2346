"""What is known of an item: its run's result, and every attempt at it (``items/<id>/item.json``).

In: an item's folders. Out: its state; a record that whoever holds the item's claim writes.
A result counts if it is this very item's, whoever wrote it. Knows nothing about how items are executed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from pydantic import ValidationError

from clue_runner.errors import CheckpointError, StorageError
from clue_runner.files.atomic import write_json
from clue_runner.files.reading import DamagedFileError, read_object
from clue_runner.runs.folder import RunFolder
from clue_runner.runs.results import RunResult
from clue_runner.suites.collected import Part
from clue_runner.suites.items import Item

RECORD, LOG = "item.json", "log.txt"
State = Literal["ok", "failed", "missing"]


class Attempt(Part):
    """One process that worked on an item; ``exit_code`` is None while it does, or after its runner's end."""

    host: str
    pid: int | None = None
    started: str
    seconds: float | None = None
    exit_code: int | None = None
    reason: str | None = None


class Record(Part):
    """Every attempt at one item, oldest first."""

    id: str
    words: str
    command: list[str]
    attempts: list[Attempt] = []


class Standing(NamedTuple):
    """The state of an item: ``result`` where it has a score, else why not."""

    state: State
    result: RunResult | None = None
    reason: str | None = None
    exit_code: int | None = None


@dataclass(frozen=True)
class ItemPlace:
    """The folder of an item's record, log and claim."""

    path: Path

    @property
    def log(self) -> Path:
        """Return the file of what the item's processes printed."""
        return self.path / LOG

    def record(self) -> Record | None:
        """Return what was recorded; None where nothing was, or where it cannot be used: it only informs."""
        try:
            return Record.model_validate(read_object(self.path / RECORD))
        except (FileNotFoundError, DamagedFileError, ValidationError):
            return None

    def write(self, record: Record) -> None:
        """Replace the record in one move; by the holder of the claim alone.

        Raises:
            StorageError: the disk refused.
        """
        write_json(self.path / RECORD, record.model_dump(mode="json"))


def is_of(result: RunResult, code: str) -> bool:
    """Return whether a run in an item's folder is the item's: a program can change while a suite runs."""
    return result.ok and result.code == code


def changed_program(result: RunResult, code: str) -> str:
    """Return why a result is not the item's."""
    return f"the program changed meanwhile: {result.code} trained it, the item is for {code}"


def standing(item: Item, root: Path) -> Standing:
    """Return the state of a suite's item; ``root``: the suite's folder."""
    if item.problem is not None:
        return Standing("failed", None, one_line(str(item.problem)), item.problem.exit_code)
    try:
        result = RunFolder(item.folder).result()
    except (CheckpointError, StorageError) as error:
        return Standing("failed", None, one_line(str(error)), error.exit_code)
    if result is not None and is_of(result, item.code):
        return Standing("ok", result)
    record = ItemPlace(item.work(root).place).record()
    last = record.attempts[-1] if record and record.attempts else None
    if result is not None and result.ok:
        return Standing("missing", reason=changed_program(result, item.code))
    if result is not None and result.error is not None:
        return Standing("failed", None, one_line(result.error.message), result.error.exit_code)
    if last is None:
        return Standing("missing", reason="not begun")
    if last.exit_code in {None, 0, 130, 143}:
        return Standing("missing", reason="begun, not ended", exit_code=last.exit_code)
    return Standing("failed", None, last.reason, last.exit_code)


def exit_code_of(rows: Sequence[Standing]) -> int:
    """Return the exit code of a suite: of the first item that failed; 0 where none did."""
    for one in rows:
        if one.state == "failed":
            code = one.exit_code or 1
            return code if code > 0 else 128 - code
    return 0


def one_line(text: str) -> str:
    """Return a message on one line."""
    return "; ".join(line.strip() for line in text.splitlines() if line.strip())
