"""Checks answers that are not labels: indices of choices, texts from passages, entities.

In: parsed answers, and the records if available. Out: findings.
Knows nothing about the order of ids, counts or other files.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

from clue_runner.data.cards import Card
from clue_runner.data.readers.entities import entities_of
from clue_runner.data.records import ChoiceRecord, ClozeRecord, Records
from clue_runner.errors import DataError
from clue_runner.submission.findings import Findings, shorten
from clue_runner.submission.forms import Answer

PLACEHOLDER = "FAKE_ANSWER"  # what published test files hold in place of answers
ENTITIES = '{"type": {"surface": [[start, end]]}}, ends inclusive'
N_BEST = re.compile(r"n[_-]?best[_-]|[_-]n[_-]?best")
MOST_DIGITS = 9  # of an index written as a string


def asked_ids(records: Records[Any]) -> list[str]:
    """Return the ids that a file of answers must have, in file order: tags of blanks, else records."""
    return [
        str(name)
        for record in records.items
        for name in (record.tags if isinstance(record, ClozeRecord) else (record.id,))
    ]


def text_answer(value: object, record_id: object) -> str:
    """Return an answer that must be a string.

    Raises:
        DataError: it is anything else; nothing is ever converted to a string to be scored or submitted.
    """
    if not isinstance(value, str):
        raise DataError(f"the answer to {shorten(record_id)} is not a string", received=shorten(value))
    return value


def check_indices(
    answers: Sequence[Answer], records: Records[Any] | None, findings: Findings, *, for_upload: bool = True
) -> None:
    """Note answers that are not integers, and integers outside the choices of their question.

    Digits in a string, as some runners write them, are a number unless ``for_upload``.
    """
    choices = _choices(records)
    for answer in answers:
        texts = choices.get(str(answer.id), ())
        value = answer.value
        allowed = f"0 to {len(texts) - 1}" if texts else "0 or more"
        if not for_upload and isinstance(value, str) and value.isdecimal() and len(value) <= MOST_DIGITS:
            value = int(value)
        if type(value) is not int:  # bool is an int to isinstance
            what = "the answer is not a number"
            if isinstance(value, str) and value in texts:
                what = f"a choice's text instead of its index (write {texts.index(value)})"
            findings.add(what, answer.line, received=shorten(value), allowed=f"an index from 0, {allowed}")
        elif value < 0 or (texts and value >= len(texts)):
            findings.add("the index is not a choice", answer.line, received=shorten(value), allowed=allowed)


def check_texts(answers: Sequence[Answer], findings: Findings) -> None:
    """Note answers that are not strings, n-best lists, and the placeholders of the test file."""
    for answer in answers:
        value = answer.value
        if is_n_best(value):
            findings.add(
                "several texts with their scores for one id: this is an n-best file",
                answer.line,
                received=shorten(value, 40),
                allowed="one text per id",
                fix=f"give {single_best_name(findings.name)}, which the same tool wrote",
            )
        elif not isinstance(value, str):
            findings.add("the answer is not a string", answer.line, received=shorten(value))
        elif value.startswith(PLACEHOLDER):
            what = "the test file's placeholder instead of an answer"
            findings.add(what, answer.line, received=shorten(value))


def is_n_best(value: object) -> bool:
    """Return whether this is an entry of the n-best file of reading tools."""
    items = value if isinstance(value, list) else []
    return bool(items) and all(isinstance(item, dict) and "text" in item for item in items)


def single_best_name(name: str) -> str:
    """Return the name of the file of best answers that reading tools write beside an n-best file."""
    best, marks = N_BEST.subn("", PurePath(name).name, count=1)
    return best if marks else "predictions.json"


def check_entities(
    answers: Sequence[Answer], card: Card, records: Records[Any] | None, findings: Findings
) -> None:
    """Note labels of another shape, unknown types, and spans that do not match their surface.

    Without ``records`` spans are not compared with texts.
    """
    texts = {str(record.id): record.text for record in records.items} if records else {}
    for answer in answers:
        _, faults = entities_of(answer.value, texts.get(str(answer.id)), card.label_names)
        for fault in faults:
            what, allowed = "the label is not a set of entities", ENTITIES
            if fault.startswith("entity type"):
                what, allowed = "an entity type is not one of the card's", ", ".join(card.label_names)
            elif fault.startswith("span"):
                what = "a span does not match its surface"
            findings.add(what, answer.line, received=shorten(fault, 160), allowed=allowed)


def _choices(records: Records[Any] | None) -> Mapping[str, Sequence[str]]:
    """Return id -> texts to choose from, tags for blanks and the ids of their records too."""
    choices: dict[str, Sequence[str]] = {}
    for record in records.items if records else ():
        if isinstance(record, ChoiceRecord):
            choices[str(record.id)] = record.choices
        elif isinstance(record, ClozeRecord):
            choices.update(dict.fromkeys((*record.tags, str(record.id)), record.candidates))
    return choices
