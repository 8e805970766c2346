"""Puts the answers of a prediction file into the order of the gold records.

In: answers as ``answers.read_answers`` gives them, and labelled records.
Out: one answer per record, and how they were matched. Knows nothing about metrics.
Ids are compared as texts: 1 and "1" are the same id.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from clue_runner.data.records import ClozeRecord, ReadingRecord, Records
from clue_runner.errors import DataError, Problem
from clue_runner.files.text import printable
from clue_runner.submission.findings import problem
from clue_runner.submission.forms import Answer
from clue_runner.submission.strict_json import repeats

SHOWN = 60  # characters of an id in a message
NEXT_STEP = "predict the whole split again, or name the right --gold file"
PARTIAL = "; --partial counts each question without an answer as 0"


@dataclass(frozen=True)
class Aligned:
    """One answer for every record in order.

    Args:
        answers: None for a record without an answer, which only ``partial`` allows.
        by: how answers and records were matched.
        ignored: answers to ids that no record has.
    """

    answers: tuple[Answer | None, ...]
    by: str
    ignored: int = 0

    @property
    def unanswered(self) -> int:
        """Return how many records have no answer."""
        return sum(answer is None for answer in self.answers)


def align(answers: Sequence[Answer], records: Records[Any], name: str, *, partial: bool = False) -> Aligned:
    """Return the answers in the order of ``records``.

    By id if the file's ids are the records' own; by row if the file numbers its lines or has no
    ids. Rows of the gold file that are not scored (no agreed label) may have an answer: it is ignored.

    Args:
        answers: in file order.
        records: what they answer.
        name: the prediction file's name in messages.
        partial: records may be without an answer, and answers without a record; ids decide.

    Raises:
        DataError: duplicate, missing or unknown ids, or a different number of lines.
    """
    if all(answer.id is None for answer in answers):
        if partial:
            raise DataError("--partial matches answers by id, but these have none", where=printable(name))
        return _by_row(answers, records, name, "row order, since the file has no ids")
    given = [str(answer.id) for answer in answers]
    if _answers_blanks(given, records):
        return _by_tag(answers, given, records, name)
    wanted = [str(record.id) for record in records.items]
    if partial:
        return _by_id(answers, given, wanted, records, name)
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


def _answers_blanks(given: Sequence[str], records: Records[Any]) -> bool:
    """Return whether the ids are tags of blanks rather than ids of records."""
    tags = {tag for record in records.items if isinstance(record, ClozeRecord) for tag in record.tags}
    return not tags.isdisjoint(given)


def _by_id(
    answers: Sequence[Answer], given: Sequence[str], wanted: Sequence[str], records: Records[Any], name: str
) -> Aligned:
    """Return the answers present; a file without any expected id belongs to other data."""
    by_id = dict(zip(given, answers, strict=True))
    known = by_id.keys() & set(wanted)
    if repeats(given) or not known:
        raise _mismatch(answers, given, wanted, records, name)
    chosen = tuple(by_id.get(text) for text in wanted)
    return Aligned(chosen, "id", ignored=len(by_id) - len(known))


def _by_tag(answers: Sequence[Answer], given: Sequence[str], records: Records[Any], name: str) -> Aligned:
    """Return the answers of each record's blanks together, {tag: answer}.

    Raises:
        DataError: a tag without an answer or with two, or an answer to an unknown tag.
    """
    by_tag = dict(zip(given, answers, strict=True))
    wanted = {tag: record for record in records.items for tag in record.tags}
    twice = repeats(given)
    problems = [_twice("tag", given[place], answers[place], answers[first], name) for place, first in twice]
    problems += [
        problem(
            f"the tag {printable(tag, SHOWN)} occurs in no record of {records.shown}", f"{name}:{answer.line}"
        )
        for tag, answer in by_tag.items()
        if tag not in wanted
    ]
    problems += [
        problem(f"no answer for {tag}", f"{records.path}:{record.line}")
        for tag, record in wanted.items()
        if tag not in by_tag
    ]
    if problems:
        raise DataError(
            f"the predictions do not fit {printable(records.shown)}: "
            f"{len(given):,} answers, {len(wanted):,} blanks",
            where=printable(name),
            problems=problems,
            next_step=NEXT_STEP,
        )
    chosen = []
    for record in records.items:
        value = {tag: by_tag[tag].value for tag in record.tags}
        chosen.append(Answer(by_tag[record.tags[0]].line, record.id, value))
    return Aligned(tuple(chosen), "tag")


def _skipped(records: Records[Any]) -> int:
    return records.total - len(records)


def _counts_rows(given: Sequence[str]) -> bool:
    return any(list(given) == [str(start + row) for row in range(len(given))] for start in (0, 1))


def _by_row(answers: Sequence[Answer], records: Records[Any], name: str, by: str) -> Aligned:
    """Return the answers row by row, over the scored rows or over all rows of the gold file."""
    if len(answers) == len(records):
        return Aligned(tuple(answers), by)
    if len(answers) == records.total:
        rows = [(_line(record) or 0) - 1 for record in records.items]
        if all(0 <= row < len(answers) for row in rows):
            ignored = _skipped(records)
            return Aligned(tuple(answers[row] for row in rows), f"{by}, {ignored} unscored rows ignored")
    raise DataError(
        f"{len(answers):,} answers for {len(records):,} records of {printable(records.shown)}",
        where=printable(name),
        next_step=NEXT_STEP,
    )


def _mismatch(
    answers: Sequence[Answer], given: Sequence[str], wanted: Sequence[str], records: Records[Any], name: str
) -> DataError:
    """Return the error that names duplicate, unknown and missing ids."""
    known, there = set(wanted), set(given)
    twice = [pair for pair in repeats(given) if answers[pair[0]].id is not None]
    problems = [_twice("id", given[place], answers[place], answers[first], name) for place, first in twice]
    seen: set[str] = set()
    for answer, text in zip(answers, given, strict=True):
        if text in seen:
            continue
        seen.add(text)
        if answer.id is None:
            problems.append(problem("the line has no id, but others have one", f"{name}:{answer.line}"))
        elif text not in known:
            shown = printable(text, SHOWN)
            spaced = text.strip() in known  # nobody sees the blank that makes the difference
            shown = f"{shown!r}, with blanks around it," if spaced else shown
            what = f"id {shown} is not in {records.shown}"
            problems.append(problem(what, f"{name}:{answer.line}"))
    for record, text in zip(records.items, wanted, strict=True):
        if text not in there:
            line = _line(record)
            where = f"{records.path}:{line}" if line else records.path
            problems.append(problem(f"no answer for id {text}", where))
    is_part = there < known and any(isinstance(record, ReadingRecord) for record in records.items)
    return DataError(
        f"the predictions do not fit {printable(records.shown)}: "
        f"{len(answers):,} answers, {len(records):,} records",
        where=printable(name),
        problems=problems,
        next_step=f"{NEXT_STEP}{PARTIAL if is_part else ''}",
    )


def _line(record: object) -> int | None:
    """Return the line of a record; those of a file that is one JSON value have none."""
    line = getattr(record, "line", None)
    return line if isinstance(line, int) else None


def _twice(kind: str, text: str, answer: Answer, first: Answer, name: str) -> Problem:
    what = f"duplicate {kind} {printable(text, SHOWN)}, first on line {first.line}"
    return problem(what, f"{name}:{answer.line}")
