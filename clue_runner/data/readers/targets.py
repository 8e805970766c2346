"""Records for generation: JSON lines with a target, or SQuAD's questions in reverse.

In: a card and a source. Out: ``Records[TargetRecord]``. Knows nothing about tokens or models.

A card of the layout ``targets`` has a template for the source and one, ``target``, for the target.
``squad_targets``: an answer with its text is the source, the question the target; one without an answer, or
without text, is left out.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import replace
from typing import Any

from clue_runner.data.card import PLACEHOLDER, Card, Template
from clue_runner.data.readers.common import Noticed, Origin, make_records, official, read_part
from clue_runner.data.readers.json_lines import JsonLine, bad_lines, parse_json_lines
from clue_runner.data.readers.reading import read_reading_records
from clue_runner.data.records import ReadingRecord, Records, TargetRecord
from clue_runner.data.sources import DataSource
from clue_runner.data.template import FieldError, check_fields, fill_template
from clue_runner.errors import Problem

NOT_WRITTEN = "without an answer or a question"


def read_target_records(
    card: Card, source: DataSource, split: str, *, labelled: bool | None = None
) -> Records[TargetRecord]:
    """Return the usable records of one split of JSON lines.

    Args:
        card: the task; records with one of its ``skip_labels`` are left out.
        source: where its files are.
        split: a name in ``card.splits``.
        labelled: whether targets are required; None: as the card says for this split.

    Raises:
        DataError: the file is missing or empty, or has lines that the card does not allow.
    """
    declared = card.splits[split]
    part = read_part(source, declared)
    rows, problems = parse_json_lines(part.raw, part.path)
    wanted = declared.labelled if labelled is None else labelled
    checked = card if wanted else _without_target(card)
    items: list[TargetRecord] = []
    skipped: Counter[str] = Counter()
    for index, row in enumerate(rows):
        label = row[1].get(card.label_field)
        if label in card.skip_labels:
            skipped[f"{card.label_field} {label!r}"] += 1
            continue
        try:
            items.append(_record(checked, row, index, wanted))
        except FieldError as error:
            problems.append(Problem(str(error), where=f"{part.path}:{row[0]}"))
    if problems:
        raise bad_lines(part.path, problems, official(card))
    origin = Origin(card, source, split, [part], hashlib.sha256(part.raw).hexdigest())
    return make_records(origin, items, Noticed(skipped=skipped), total=len(rows))


def read_question_targets(
    card: Card, source: DataSource, split: str, *, labelled: bool | None = None
) -> Records[TargetRecord]:
    """Return the questions of one split as targets; arguments and errors as in ``read_reading_records``.

    The answer is always read: without it there is nothing to ask about.
    """
    wanted = card.splits[split].labelled if labelled is None else labelled
    found = read_reading_records(card, source, split, labelled=True)
    items = [_question(one, wanted) for one in found.items if _is_usable(one)]
    skipped = dict(found.skipped)
    if len(items) < len(found):
        skipped[NOT_WRITTEN] = len(found) - len(items)
    return Records(
        split=found.split,
        items=tuple(items),
        file=found.file,
        sha256=found.sha256,
        total=found.total,
        skipped=skipped,
        path=found.path,
        warnings=found.warnings,
        complete=found.complete,
        counts=found.counts,
    )


def question_target(name: str, context: str, answer: str, question: str | None) -> TargetRecord:
    """Return the record that asks for ``answer``; the text around that answer is kept."""
    place = context.find(answer)
    return TargetRecord(name, (answer, context), question, None if place < 0 else place)


def _is_usable(record: ReadingRecord) -> bool:
    """Return whether there is a question to write, and an answer in the text to write it from."""
    return bool(record.question.strip()) and record.target is not None


def _question(record: ReadingRecord, wanted: bool) -> TargetRecord:
    """Return a question as a target."""
    answer = record.target
    assert answer is not None
    made = question_target(record.id, record.context, answer.text, record.question if wanted else None)
    return replace(made, focus=answer.start)


def _record(card: Card, row: JsonLine, index: int, wanted: bool) -> TargetRecord:
    """Return one record, template applied."""
    _, fields = row
    check_fields(fields, card)
    texts = fill_template(fields, card.template) if card.template else ()
    target = None
    if wanted and card.target is not None:
        (target,) = fill_template(fields, Template(parts=[card.target]))
        if not target.strip():
            raise FieldError("the target is empty")
    return TargetRecord(_id(card, fields, index), texts, target)


def _id(card: Card, fields: dict[str, Any], index: int) -> int | str:
    """Return the record's own id, or its row number from 0."""
    value = fields.get(card.id_field) if card.id_field is not None else None
    if value is None:
        return index
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise FieldError(f"{card.id_field!r} must be an integer or a string, got {value!r:.60}")
    return value


def _without_target(card: Card) -> Card:
    """Return the card for records without targets."""
    read = card.template.used_fields if card.template else ()
    only = {match["field"] for match in PLACEHOLDER.finditer(card.target or "")} - set(read)
    return card.model_copy(update={"fields": {k: v for k, v in card.fields.items() if k not in only}})
