"""The state of an item: its run's result, and every attempt at it (``items/<id>/item.json``).

In: an item's folders. Out: its state; a record that whoever holds the item's claim writes.
A result counts if it belongs to this item, whoever wrote it. Knows nothing about how items are executed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from pydantic import ValidationError

from clue_runner.adapters.sections import SECTIONS
from clue_runner.config.resolved import config_hash
from clue_runner.config.schema import Run
from clue_runner.errors import CheckpointError, RefusedSettingError, StorageError
from clue_runner.files.atomic import write_json
from clue_runner.files.reading import DamagedFileError, read_object
from clue_runner.runs.folder import RunFolder
from clue_runner.runs.results import RunResult
from clue_runner.suites.collected import Part
from clue_runner.suites.items import Item, item_facts, item_id

RECORD, LOG = "item.json", "log.txt"
State = Literal["ok", "failed", "missing", "refused"]
SETTLED: frozenset[State] = frozenset({"ok", "refused"})  # an answer: nothing is left to run, nothing failed


class Attempt(Part):
    """One process that worked on an item; ``exit_code`` is None while it runs or if its runner died."""

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
    """The state of an item: ``result`` where it has a score, else why not.

    ``refused``: its task or network cannot use a setting of it, which is an answer and no failure.
    """

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
        """Return the record; None if there is none or it is unusable, since it is only informative."""
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


class Held(NamedTuple):
    """What an item's folder holds.

    Args:
        result: the item's own, or of its run that failed; None where there is none.
        other: why what lies there is not the item's; it is to be moved aside.
    """

    result: RunResult | None = None
    other: str | None = None


def held(folder: Path, name: str, code: str) -> Held:
    """Return what an item's folder holds.

    Args:
        folder: of the run.
        name: of the item.
        code: version and hash of the program that the item is for.

    Raises:
        StorageError: it cannot be read now.
    """
    place = RunFolder(folder)
    try:
        result = place.result()
        settings = place.run(SECTIONS) if result is not None and result.ok else None
    except CheckpointError as error:
        return Held(other=f"its folder is damaged: {one_line(str(error.headline))}")
    if result is None or not result.ok:
        return Held(result)
    if result.code != code:
        # A program can change while a suite runs.
        return Held(other=f"the program has changed: {result.code} trained it, but the item is for {code}")
    if settings is None or not _is_item(result, settings, name):
        return Held(other="its folder holds the result of another run")
    return Held(result)


def _is_item(result: RunResult, settings: Run, name: str) -> bool:
    """Return whether a run's own record identifies it as the item: files can be copied by hand."""
    identity, precision = result.identity, result.precision
    if identity is None or precision is None or result.config_sha256 != config_hash(settings):
        return False
    code = str(result.code)
    return item_id(item_facts(settings, result.task, identity, code=code, precision=precision)) == name


def standing(item: Item, root: Path) -> Standing:
    """Return the state of a suite's item; ``root``: the suite's folder."""
    if isinstance(item.problem, RefusedSettingError):
        return Standing("refused", None, one_line(str(item.problem.headline)), item.problem.exit_code)
    if item.problem is not None:
        return Standing("failed", None, one_line(str(item.problem)), item.problem.exit_code)
    try:
        result, other = held(item.folder, item.id, item.code)
    except StorageError as error:
        return Standing("failed", None, one_line(str(error)), error.exit_code)
    if other is not None:
        return Standing("missing", reason=other)
    if result is not None and result.ok:
        return Standing("ok", result)
    if result is not None and result.error is not None:
        if result.error.type == RefusedSettingError.__name__:
            return Standing("refused", None, result.error.message.splitlines()[0], result.error.exit_code)
        return Standing("failed", None, one_line(result.error.message), result.error.exit_code)
    record = ItemPlace(item.work(root).place).record()
    last = record.attempts[-1] if record and record.attempts else None
    if last is None:
        return Standing("missing", reason="not started")
    if last.exit_code in {None, 0, 130, 143}:
        return Standing("missing", reason="started, not finished", exit_code=last.exit_code)
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
