"""The only reader of answers, shared by ``clue evaluate``, ``submit check`` and ``submit pack``.

In: a file's bytes, the card, and the form that the file may have. Out: answers, and findings about them.
Knows nothing about scores, folders or zips.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from clue_runner.data.cards import Card, Submission
from clue_runner.data.records import Records
from clue_runner.errors import DataError
from clue_runner.files.text import printable
from clue_runner.submission.findings import Findings
from clue_runner.submission.forms import Answer, Form, Shape
from clue_runner.submission.labels import check_labels
from clue_runner.submission.lines import is_one_object, is_other_shape, parse_answers, read_lines
from clue_runner.submission.objects import ONE_OBJECT, parse_object
from clue_runner.submission.tables import ONE_LINE, parse_table
from clue_runner.submission.values import check_entities, check_indices, check_texts

AnswerKind = Literal["label", "entities", "index", "text"]


def read_answers(raw: bytes, findings: Findings, form: Form) -> list[Answer]:
    """Return the answers in file order; the file's faults go into ``findings``.

    Values may be any JSON: ``check_values`` judges them.
    """
    examples = {"object": ONE_OBJECT, "table": ONE_LINE}
    lines = read_lines(raw, findings, form, examples.get(form.shape or "", form.line))
    if not lines:
        return []
    shape = form.shape or _shape_of(lines, form)
    if shape == "object":
        return parse_object(lines, findings)
    if shape == "table":
        return parse_table(lines, findings)
    return [] if is_other_shape(lines, findings, form) else parse_answers(lines, findings, form)


def read_predictions(raw: bytes, name: str, form: Form) -> list[Answer]:
    """Return the answers of a file to score.

    Raises:
        DataError: it cannot be read; every kind of finding with its first file:line.
    """
    findings = Findings(name)
    answers = read_answers(raw, findings, form)
    refuse(findings, "the prediction file cannot be read")
    return answers


def refuse(findings: Findings, what: str, next_step: str | None = None) -> None:
    """Raise a ``DataError`` where there are findings."""
    if findings:
        where = printable(findings.name)
        raise DataError(what, where=where, problems=findings.problems(), next_step=next_step)


def answer_kind(card: Card) -> AnswerKind:
    """Return the kind of answer to the card's records."""
    if card.layout == "cluener":
        return "entities"
    if card.labels:
        return "label"
    return "index" if card.layout in {"c3", "chid"} else "text"


def check_values(
    answers: Sequence[Answer],
    card: Card,
    records: Records[Any] | None,
    findings: Findings,
    submission: Submission | None = None,
) -> None:
    """Note every answer that is invalid for this task.

    Args:
        answers: with the ids of their records.
        card: the task.
        records: the questions; None: not compared with texts and choices.
        findings: where to note faults.
        submission: the leaderboard's file; None: the answers are to be scored, where digits in a string may
            stand for an index and a record's blanks may be answered together.
    """
    kind = answer_kind(card)
    if kind == "entities":
        check_entities(answers, card, records, findings)
    elif kind == "label":
        check_labels(answers, card, submission.label_type if submission else "str", findings)
    elif kind == "index":
        each = answers if submission else [blank for answer in answers for blank in _blanks(answer)]
        check_indices(each, records, findings, for_upload=submission is not None)
    else:
        check_texts(answers, findings)


def _shape_of(lines: list[str], form: Form) -> Shape:
    if form.may_be_table and not lines[0].lstrip().startswith(("{", "[")):
        return "table"
    return "object" if is_one_object(lines, form) else "lines"


def _blanks(answer: Answer) -> list[Answer]:
    if not isinstance(answer.value, Mapping):
        return [answer]
    return [Answer(answer.line, tag, index) for tag, index in answer.value.items()]
