"""Reads a prediction file back, and brings its lines into the order of the gold records.

In: bytes of ``predictions/<split>.jsonl`` or of a submission file (lines, or one object from id to answer),
and labelled records.
Out: one answer a record, and by what they were matched. Knows nothing about metrics.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from clue_runner.data.records import ClozeRecord, Records
from clue_runner.errors import DataError, Problem
from clue_runner.submission.findings import shorten
from clue_runner.submission.lines import load_line
from clue_runner.submission.objects import located

ANSWER_KEYS = ("prediction", "label", "answer")


@dataclass(frozen=True, slots=True)
class GivenAnswer:
    """One line of a prediction file; ``id`` is None where the line has none."""

    line: int
    id: int | str | None
    answer: Any
    probability: float | None


@dataclass(frozen=True)
class Aligned:
    """One answer for every record in order; ``by`` says how they were matched."""

    answers: tuple[GivenAnswer, ...]
    by: str


def read_predictions(raw: bytes, name: str) -> list[GivenAnswer]:
    """Return the answers of a prediction file in file order.

    Raises:
        DataError: a line is not a JSON object with ``prediction`` or ``label``; all of them are listed.
    """
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise DataError("the file is not UTF-8", where=f"{name}:{line}") from None
    whole = _as_object(text)
    if whole is not None:
        return [GivenAnswer(one.line, one.id, one.label, None) for one in located(text, whole)]
    answers, problems = [], []
    for number, line_text in enumerate(text.split("\n"), start=1):
        if not line_text.strip():
            continue
        try:
            answers.append(_parse(line_text, number))
        except ValueError as error:
            problems.append(
                Problem(str(error), f"{name}:{number}", shorten(line_text), '{"id": ..., "label": ...}')
            )
    if problems:
        raise DataError("the prediction file cannot be read", where=name, problems=problems)
    if not answers:
        raise DataError("the prediction file is empty", where=name)
    return answers


def align(answers: Sequence[GivenAnswer], records: Records[Any], name: str) -> Aligned:
    """Return the answers in the order of ``records``.

    By id where the file's ids are the records' own; by row where the file numbers its lines or has no
    ids. Rows of the gold file that are not scored (no agreed label) may have an answer: it is ignored.

    Raises:
        DataError: ids that stand twice, are missing or unknown, or another number of lines.
    """
    if all(answer.id is None for answer in answers):
        return _by_row(answers, records, name, "row order, since the file has no ids")
    if any(isinstance(record, ClozeRecord) and answers[0].id in record.tags for record in records.items):
        return _by_tag(answers, records, name)
    wanted = [str(record.id) for record in records.items]
    given = [str(answer.id) for answer in answers]
    if len(set(wanted)) == len(wanted):
        by_id = dict(zip(given, answers, strict=True))
        extra = len(answers) - len(wanted)
        if len(by_id) == len(given) and set(wanted) <= by_id.keys() and extra in {0, _skipped(records)}:
            ignored = f", {extra} rows without an agreed label ignored" if extra else ""
            return Aligned(tuple(by_id[text] for text in wanted), f"id{ignored}")
    if _counts_rows(given) and len(given) in {len(records), records.total}:
        return _by_row(answers, records, name, "row order, since the ids only count lines")
    if len(set(wanted)) < len(wanted) and given == wanted:
        return _by_row(answers, records, name, "row order, since the gold ids repeat")
    raise _mismatch(answers, given, wanted, records, name)


def _parse(text: str, number: int) -> GivenAnswer:
    """Return one line's answer."""
    record = load_line(text)
    if not isinstance(record, dict):
        raise ValueError("the line is not a JSON object")
    key = next((key for key in ANSWER_KEYS if key in record), None)
    if key is None:
        raise ValueError("the line has no prediction and no label")
    record_id = record.get("id")
    if isinstance(record_id, bool) or not isinstance(record_id, int | str | None):
        raise ValueError("the id is no number and no text")
    probability = record.get("probability")
    if not isinstance(probability, int | float | None):
        raise ValueError("the probability is not a number")
    return GivenAnswer(number, record_id, record[key], probability)


def _as_object(text: str) -> dict[str, Any] | None:
    """Return the file's one object from id to answer; None where it is lines of records."""
    try:
        whole = load_line(text)
    except ValueError:
        return None
    is_line = not isinstance(whole, dict) or any(key in whole for key in ("id", *ANSWER_KEYS))
    return None if is_line else whole


def _by_tag(answers: Sequence[GivenAnswer], records: Records[Any], name: str) -> Aligned:
    """Return the answers of each record's blanks together, {tag: answer}.

    Raises:
        DataError: a tag without an answer, or an answer to a tag that is in no record.
    """
    given = {str(answer.id): answer for answer in answers}
    wanted = {tag: record for record in records.items for tag in record.tags}
    problems = [
        Problem(f"the tag {tag} is in no record of {records.file}", f"{name}:{answer.line}")
        for tag, answer in given.items()
        if tag not in wanted
    ]
    problems += [
        Problem(f"no answer for {tag}", f"{records.file}:{record.line}")
        for tag, record in wanted.items()
        if tag not in given
    ]
    if problems:
        raise DataError(
            f"the predictions do not fit {records.file}: {len(given):,} answers, {len(wanted):,} blanks",
            where=name,
            problems=problems,
            next_step="predict the whole split again, or name the right --gold file",
        )
    gathered = []
    for record in records.items:
        chosen = {tag: given[tag].answer for tag in record.tags}
        gathered.append(GivenAnswer(given[record.tags[0]].line, record.id, chosen, None))
    return Aligned(tuple(gathered), "tag")


def _skipped(records: Records[Any]) -> int:
    """Return how many rows of the gold file are not scored."""
    return records.total - len(records)


def _counts_rows(given: Sequence[str]) -> bool:
    """Return whether the ids are 0, 1, 2 ... or 1, 2, 3 ..."""
    return any(list(given) == [str(start + row) for row in range(len(given))] for start in (0, 1))


def _by_row(answers: Sequence[GivenAnswer], records: Records[Any], name: str, by: str) -> Aligned:
    """Return the answers row by row, over the scored rows or over all rows of the gold file."""
    if len(answers) == len(records):
        return Aligned(tuple(answers), by)
    if len(answers) == records.total:
        rows = [record.line - 1 for record in records.items]
        if rows[-1] < len(answers):
            ignored = _skipped(records)
            return Aligned(tuple(answers[row] for row in rows), f"{by}, {ignored} unscored rows ignored")
    raise DataError(
        f"{len(answers):,} answers for {len(records):,} records of {records.file}",
        where=name,
        next_step="predict the whole split again, or name the right --gold file",
    )


def _mismatch(
    answers: Sequence[GivenAnswer],
    given: Sequence[str],
    wanted: Sequence[str],
    records: Records[Any],
    name: str,
) -> DataError:
    """Return the error that names repeated, unknown and missing ids."""
    first: dict[str, int] = {}
    problems = []
    known = set(wanted)
    for answer, text in zip(answers, given, strict=True):
        line = first.setdefault(text, answer.line)
        if line != answer.line:
            problems.append(Problem(f"id {text} stands twice, first in line {line}", f"{name}:{answer.line}"))
        elif answer.id is None:
            problems.append(Problem("the line has no id, others have one", f"{name}:{answer.line}"))
        elif text not in known:
            problems.append(Problem(f"id {text} is not in {records.file}", f"{name}:{answer.line}"))
    for record, text in zip(records.items, wanted, strict=True):
        if text not in first:
            place = getattr(record, "line", None)  # records of a file that is one JSON value have none
            problems.append(
                Problem(f"no answer for id {text}", f"{records.file}:{place}" if place else records.file)
            )
    return DataError(
        f"the predictions do not fit {records.file}: {len(answers):,} answers, {len(records):,} records",
        where=name,
        problems=problems,
        next_step="predict the whole split again, or name the right --gold file",
    )
