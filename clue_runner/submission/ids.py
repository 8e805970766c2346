"""Compares the ids of a submission with the test file: all present, in its order, each once.

In: parsed answers, the test records if available. Out: findings.
Knows nothing about answers, counts or files' names. Ids are compared as texts: 1 and "1" are the same id.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from clue_runner.data.cards import Submission
from clue_runner.data.records import Records
from clue_runner.files.text import printable
from clue_runner.submission.findings import Findings, shorten
from clue_runner.submission.forms import Answer
from clue_runner.submission.strict_json import repeats
from clue_runner.submission.values import asked_ids

SHOWN = 60  # characters of an id in a message


def check_keys(
    answers: Sequence[Answer],
    records: Records[Any] | None,
    others: Mapping[str, Records[Any]],
    findings: Findings,
) -> None:
    """Note unknown ids of an object, and expected ids without an answer."""
    if records is None:
        return
    wanted = asked_ids(records)
    known, given = set(wanted), {str(answer.id) for answer in answers}
    absent = [name for name in wanted if name not in given]
    strange = [answer for answer in answers if str(answer.id) not in known]
    for split, other in others.items():
        if strange and given == set(asked_ids(other)):
            findings.add(f"the ids are those of {split} ({other.file}), not of {records.split}")
            return
    if absent:
        what = f"{len(absent):,} of {len(wanted):,} ids of {records.shown} have no answer"
        findings.add(what, received="nothing", allowed=f"an answer to {absent[0]}")
    if strange:
        what = f"{len(strange):,} ids are not in {records.shown}"
        findings.add(what, strange[0].line, received=shorten(strange[0].id), allowed=shorten(wanted[0]))


def check_id_types(answers: Sequence[Answer], submission: Submission, findings: Findings) -> None:
    """Note ids that are strings where numbers are required, or the other way round."""
    wanted: type = int if submission.id_type == "int" else str
    allowed = "a number, as in 7" if wanted is int else 'a string, as in "7"'
    for answer in answers:
        if type(answer.id) is not wanted:  # bool is an int to isinstance
            received = shorten(answer.id)
            findings.add("the id has the wrong type", answer.line, received=received, allowed=allowed)


def check_ids(
    answers: Sequence[Answer],
    records: Records[Any] | None,
    others: Mapping[str, Records[Any]],
    findings: Findings,
) -> None:
    """Note duplicate ids, and ids that differ from the test file's in value or order."""
    ids = [str(answer.id) for answer in answers]
    if note_repeats(answers, ids, findings) or records is None:
        return
    wanted = [str(record.id) for record in records.items]
    if ids == wanted:
        return
    for split, other in others.items():
        if ids == [str(record.id) for record in other.items]:
            findings.add(f"the ids are those of {split} ({other.file}), not of {records.split}")
            return
    line, received, allowed = _first_difference(answers, ids, wanted)
    if sorted(ids) == sorted(wanted):
        what = f"the ids are right but not in the order of {records.shown}; the server compares line by line"
    elif ids == [str(number) for number in range(len(ids))]:
        what = f"the ids are row numbers from 0, but {records.shown} has its own ids"
    elif ids == [str(number) for number in range(1, len(ids) + 1)]:
        what = f"the ids are row numbers from 1, but {records.shown} has its own ids"
    else:
        absent, strange = len(set(wanted) - set(ids)), len(set(ids) - set(wanted))
        what = f"ids differ from {records.shown}: {absent:,} missing, {strange:,} unknown"
    findings.add(what, line, received=received, allowed=allowed)


def note_repeats(answers: Sequence[Answer], ids: Sequence[str], findings: Findings) -> bool:
    """Note duplicate ids and return whether there are any; ids that count within a batch are recognised."""
    repeated = repeats(ids)
    restarts = len(repeated) > 1 and repeated[0][1] == 0
    what = "duplicate id"
    if restarts:
        what = "the ids restart: they count within each batch, not through the file"
    for place, first in repeated[:1] if restarts else repeated:
        received = f"id {printable(ids[place], SHOWN)}, first seen on line {answers[first].line}"
        findings.add(what, answers[place].line, received=received)
    return bool(repeated)


def _first_difference(
    answers: Sequence[Answer], ids: Sequence[str], wanted: Sequence[str]
) -> tuple[int, str, str]:
    """Return the first line whose id differs, that id, and the one that belongs there."""
    for answer, given, right in zip(answers, ids, wanted, strict=False):
        if given != right:
            return answer.line, f"id {printable(given, SHOWN)}", f"id {right}"
    if len(ids) > len(wanted):
        return answers[len(wanted)].line, f"id {printable(ids[len(wanted)], SHOWN)}", "the end of the file"
    return answers[-1].line, "the end of the file", f"id {wanted[len(ids)]}"
