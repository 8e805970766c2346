"""Texts and pairs of texts as JSON lines: the card's fields, its template and its labels.

In: a card and a source. Out: ``Records[TextRecord]``, every bad line named with file and line.
Knows nothing about tokens, models or scores.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from clue_runner.data.card import Card
from clue_runner.data.readers.common import (
    Noticed,
    Origin,
    Part,
    another_layout,
    make_records,
    official,
    read_part,
)
from clue_runner.data.readers.json_lines import JsonLine, bad_lines, parse_json_lines
from clue_runner.data.records import Records, TextRecord
from clue_runner.data.sources import DataSource
from clue_runner.data.template import FieldError, check_fields, fill_template
from clue_runner.errors import DataError, Problem

ALLOWED_SHOWN = 10
WHOLE_FILE = 20  # from this many records on, a key that all of them lack means another task's file


def read_text_records(
    card: Card, source: DataSource, split: str, *, labelled: bool | None = None
) -> Records[TextRecord]:
    """Return the usable records of one split, template applied.

    Args:
        card: the task.
        source: where its files are.
        split: a name in ``card.splits``.
        labelled: whether labels are required; None: as the card says for this split.

    Raises:
        DataError: the file is missing or empty, or has lines that the card does not allow
            (all are listed with file:line), or nothing usable is left.
    """
    declared = card.splits[split]
    part = read_part(source, declared)
    rows, problems = parse_json_lines(part.raw, part.path)
    _refuse_other_task(card, part, rows)
    reading = _Reading(card, part, declared.labelled if labelled is None else labelled, problems)
    reading.read(rows)
    if reading.problems:
        other = None if reading.items else another_layout(card, part)
        raise other or bad_lines(part.path, reading.problems, official(card))
    origin = Origin(card, source, split, [part], hashlib.sha256(part.raw).hexdigest())
    noticed = Noticed(skipped=reading.skipped, remarks=reading.warnings)
    return make_records(origin, reading.items, noticed, total=len(rows))


def _refuse_other_task(card: Card, part: Part, rows: Sequence[JsonLine]) -> None:
    """Raise one error instead of thousands if every record lacks a key that the card needs."""
    if len(rows) < WHOLE_FILE:
        return
    keys = {key for _, row in rows for key in row}
    absent = [name for name in card.fields if name.split(".")[0] not in keys]
    if absent:
        raise another_layout(card, part) or DataError(
            f"these are not records of {card.name}: none has {', '.join(map(repr, absent))}",
            where=part.path,
            received=", ".join(map(str, rows[0][1])),
            next_step="check that this is the data of the task you named",
        )


def allowed_labels(card: Card) -> str:
    """Return the label list for a message, shortened if it is long."""
    names = card.label_names
    shown = ", ".join(names[:ALLOWED_SHOWN])
    return shown if len(names) <= ALLOWED_SHOWN else f"{shown}, ... {names[-1]}; {len(names)} in all"


@dataclass
class _Reading:
    """The state while one split is read."""

    card: Card
    part: Part
    labelled: bool
    problems: list[Problem]
    items: list[TextRecord] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)
    warnings: list[str] = field(default_factory=list)

    def read(self, rows: Sequence[JsonLine]) -> None:
        """Take all rows; faults go into ``problems``, in line order."""
        has_ids = (
            bool(rows)
            and self.card.id_field is not None
            and any(self.card.id_field in row for _, row in rows)
        )
        seen: dict[str, int] = {}
        for index, (line, row) in enumerate(rows):
            try:
                record_id = self._id(row, index, has_ids)
                if not self.labelled and has_ids:
                    # an answer is found by its id, so two rows may not share one
                    self._refuse_duplicate(record_id, line, seen)
                label = self._label(row)
                check_fields(row, self.card)
                if label in self.card.skip_labels:
                    self.skipped[f"label {label!r}"] += 1
                    continue
                texts = fill_template(row, self.card.template) if self.card.template else ()
                self.items.append(TextRecord(record_id, texts, label, line))
            except FieldError as error:
                self.problems.append(Problem(str(error), where=f"{self.part.path}:{line}"))
        self.problems.sort(key=_line_of)
        if not self.labelled and any(self.card.label_field in row for _, row in rows[:1]):
            self.warnings.append(f"{self.part.name} has labels; they are not used")

    def _id(self, row: dict[str, Any], index: int, has_ids: bool) -> int | str:
        """Return the record's own id, or its row number from 0 in a file without ids."""
        if not has_ids or self.card.id_field is None:
            return index
        if self.card.id_field not in row:
            raise FieldError(f"no key {self.card.id_field!r}, which other records have")
        value = row[self.card.id_field]
        if isinstance(value, bool) or not isinstance(value, int | str):
            raise FieldError(f"{self.card.id_field!r} must be an integer or a string, got {value!r:.60}")
        return value

    def _refuse_duplicate(self, record_id: int | str, line: int, seen: dict[str, int]) -> None:
        """Raise for an id that an earlier line has; ids are compared as text: 1 and "1" are the same."""
        first = seen.setdefault(str(record_id), line)
        if first != line:
            raise FieldError(f"id {record_id!r} is also on line {first}")

    def _label(self, row: dict[str, Any]) -> str | None:
        """Return the record's label as the card spells it; 102 and true count as "102" and "true"."""
        if not self.labelled:
            return None
        name = self.card.label_field
        if name not in row:
            raise FieldError(f"no key {name!r}, the record has {', '.join(map(str, row)) or 'no keys'}")
        value = row[name]
        label = (
            str(value).lower() if isinstance(value, bool) else str(value) if isinstance(value, int) else value
        )
        if not isinstance(label, str):
            raise FieldError(f"{name!r} must be a string, got {value!r:.60}")
        if label not in self.card.skip_labels and label not in self.card.label_names:
            raise FieldError(f"label {label!r:.60} is not in the list (allowed: {allowed_labels(self.card)})")
        return label


def _line_of(problem: Problem) -> int:
    """Return the line number in a problem's ``file:line``."""
    return int((problem.where or ":0").rsplit(":", 1)[1])
