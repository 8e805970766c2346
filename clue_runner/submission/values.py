"""Checks answers that are no labels: indices of choices, and texts from passages.

In: parsed answers, and the test records where they are at hand. Out: findings.
Knows nothing about ids' order, counts or other files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from clue_runner.data.records import ChoiceRecord, ClozeRecord, Records
from clue_runner.submission.findings import Findings, shorten
from clue_runner.submission.lines import Answer

PLACEHOLDER = "FAKE_ANSWER"  # what published test files hold in the place of answers


def asked_ids(records: Records[Any]) -> list[str]:
    """Return the ids that a file from id to answer must hold, in file order: tags of blanks, else records."""
    return [
        str(name)
        for record in records.items
        for name in (record.tags if isinstance(record, ClozeRecord) else (record.id,))
    ]


def check_indices(answers: Sequence[Answer], records: Records[Any] | None, findings: Findings) -> None:
    """Note answers that are no number, and numbers that name no choice of their question."""
    choices = _choices(records)
    for answer in answers:
        texts = choices.get(str(answer.id), ())
        value = answer.label
        allowed = f"0 to {len(texts) - 1}" if texts else "0 or more"
        if type(value) is not int:
            what = "the answer is not a number"
            if isinstance(value, str) and value in texts:
                what = f"a choice's text instead of its index (write {texts.index(value)})"
            findings.add(what, answer.line, received=shorten(value), allowed=f"an index from 0, {allowed}")
        elif value < 0 or (texts and value >= len(texts)):
            findings.add("the index names no choice", answer.line, received=str(value), allowed=allowed)


def check_texts(answers: Sequence[Answer], findings: Findings) -> None:
    """Note answers that are no text, and the placeholders of the test file."""
    for answer in answers:
        if not isinstance(answer.label, str):
            findings.add("the answer is not a text", answer.line, received=shorten(answer.label))
        elif answer.label.startswith(PLACEHOLDER):
            findings.add(
                "the test file's placeholder instead of an answer",
                answer.line,
                received=shorten(answer.label),
            )


def _choices(records: Records[Any] | None) -> Mapping[str, Sequence[str]]:
    """Return id -> texts to choose from, tags for blanks and the ids of their records too."""
    found: dict[str, Sequence[str]] = {}
    for record in records.items if records else ():
        if isinstance(record, ChoiceRecord):
            found[str(record.id)] = record.choices
        elif isinstance(record, ClozeRecord):
            found.update(dict.fromkeys((*record.tags, str(record.id)), record.candidates))
    return found
