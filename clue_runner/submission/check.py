"""Would the leaderboard take this file? Every known cause of a score of 0, found and explained.

In: a card, one of its submissions, the file's bytes, and the test records where they are at hand.
Out: problems, each with its line, what stands there, what is allowed, and the command that mends it.
Knows nothing about folders and zips (``gather``) or names (``names``).

The server compares labels line by line with its own file: the count and the order decide, and a
label that it does not know is wrong. In a file that is one object from id to answer, every id must be
there, in any order. Causes and their sources: the cards and docs/decisions.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from clue_runner.data.cards import Card, Submission
from clue_runner.data.records import Records
from clue_runner.errors import Problem
from clue_runner.submission.entities import check_entities
from clue_runner.submission.findings import Findings, shorten
from clue_runner.submission.labels import check_labels
from clue_runner.submission.lines import ONE_LINE, Answer, parse_answers, read_lines
from clue_runner.submission.objects import ONE_OBJECT, parse_object
from clue_runner.submission.values import asked_ids, check_indices, check_texts


def check_file(
    card: Card,
    submission: Submission,
    raw: bytes,
    records: Records[Any] | None,
    *,
    name: str | None = None,
    sample: bool = False,
    others: Mapping[str, Records[Any]] | None = None,
) -> list[Problem]:
    """Return what is wrong with a submission file; an empty list means that it may be sent.

    Args:
        card: the task.
        submission: which of the card's files this is.
        raw: the file's bytes.
        records: the test records in file order; None: order and ids are not compared.
        name: what the file is called in messages; the official name where not given.
        sample: the records are the card's own sample, so the card's counts do not apply.
        others: test records of the task's other versions, to tell a mix-up (split -> records).
    """
    findings = Findings(name or submission.file, fix=fixing_command(card))
    is_object = submission.shape == "object"
    lines = read_lines(raw, findings, ONE_OBJECT if is_object else ONE_LINE)
    if not lines:
        return findings.problems()
    if is_object:
        answers = parse_object(lines, findings)
    else:
        answers = parse_answers(lines, findings, submission.answer_key)
    if not answers:
        return findings.problems()
    if submission.shape == "entities":
        check_entities(answers, card, records, findings)
    elif card.labels:
        check_labels(answers, card, submission, findings)
    elif submission.label_type == "int":
        check_indices(answers, records, findings)
    else:
        check_texts(answers, findings)
    count = len(answers) if is_object else len(lines)
    _check_count(count, card, submission, records, sample, findings)
    if is_object:
        _check_keys(answers, records, others or {}, findings)
    else:
        _check_id_types(answers, submission, findings)
        _check_ids(answers, records, others or {}, findings)
    return findings.problems()


def fixing_command(card: Card) -> str:
    """Return the command that writes the task's files again."""
    run = "" if "train" in card.splits else " --run RUN"
    return f"clue predict{run} --task {card.name} --split test"


def expected_counts(card: Card, submission: Submission) -> list[int]:
    """Return how many answers the card allows; empty where it does not know.

    Cards count records. Where the file answers blanks, no source says how many there are: only the test
    file itself can tell, and whether that is whole is said apart (``count_warning``).
    """
    return card.splits[submission.split].records if card.layout != "chid" or _is_lines(submission) else []


def count_warning(card: Card, submission: Submission, records: Records[Any] | None) -> str | None:
    """Return what to say where a file's count cannot tell that the test file is not the whole one."""
    known = card.splits[submission.split].records
    if records is None or expected_counts(card, submission) or not known or records.total in known:
        return None
    return (
        f"{submission.file} answers every blank of {records.file}, which has {records.total:,} records where "
        f"the official one has {_either(known)}: the board wants all of them; clue data get {card.name}"
    )


def _is_lines(submission: Submission) -> bool:
    """Return whether each line answers one record."""
    return submission.shape != "object"


def _check_count(
    count: int,
    card: Card,
    submission: Submission,
    records: Records[Any] | None,
    sample: bool,
    findings: Findings,
) -> None:
    """Compare the number of answers with the card (or with the sample) and guess why it differs."""
    allowed = expected_counts(card, submission)
    if sample and records is not None:
        allowed = [len(asked_ids(records))] if submission.shape == "object" else [records.total]
    elif records is not None and allowed and records.total not in allowed:
        findings.add(
            f"the test file {records.file} has {records.total:,} records, the card says {_either(allowed)}",
            allowed="the official test file",
            fix=f"clue data get {card.name}",
        )
    if not allowed or count in allowed:
        return
    what = f"{count:,} {'answers' if submission.shape == 'object' else 'lines'} instead of {_either(allowed)}"
    for other in card.submissions:
        if other is not submission and count in expected_counts(card, other):
            findings.add(
                f"{what}: that is the number of {other.split}, whose file is {other.file}",
                fix=f"rename it to {other.file}, and clue predict --task {card.name} --split test",
            )
            return
    if not sample and card.sample and count == card.sample.records.get(submission.split):
        findings.add(
            f"{what}: these are answers to the sample records that ship with the card, not for upload",
            fix=f"clue data get {card.name}, then clue train --task {card.name}",
        )
        return
    findings.add(what)


def _check_keys(
    answers: Sequence[Answer],
    records: Records[Any] | None,
    others: Mapping[str, Records[Any]],
    findings: Findings,
) -> None:
    """Note ids of an object that are not asked for, and those that are asked for and have no answer."""
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
        what = f"{len(absent):,} of {len(wanted):,} ids of {records.file} have no answer"
        findings.add(what, received="nothing", allowed=f"an answer to {absent[0]}")
    if strange:
        what = f"{len(strange):,} ids are not in {records.file}"
        findings.add(what, strange[0].line, received=shorten(strange[0].id), allowed=shorten(wanted[0]))


def _check_id_types(answers: Sequence[Answer], submission: Submission, findings: Findings) -> None:
    """Note ids that are texts where numbers are asked for, or the other way round."""
    wanted: type = int if submission.id_type == "int" else str
    allowed = "a number, as in 7" if wanted is int else 'a text, as in "7"'
    for answer in answers:
        if type(answer.id) is not wanted:  # bool is an int to isinstance
            findings.add(
                "the id has the wrong type", answer.line, received=shorten(answer.id), allowed=allowed
            )


def _check_ids(
    answers: Sequence[Answer],
    records: Records[Any] | None,
    others: Mapping[str, Records[Any]],
    findings: Findings,
) -> None:
    """Note repeated ids, and ids that differ from the test file's in value or order."""
    ids = [str(answer.id) for answer in answers]
    if _check_repeats(answers, ids, findings) or records is None:
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
        what = f"the ids are right but not in the order of {records.file}; the server compares line by line"
    elif ids == [str(number) for number in range(len(ids))]:
        what = f"the ids are row numbers from 0; {records.file} has ids of its own"
    elif ids == [str(number) for number in range(1, len(ids) + 1)]:
        what = f"the ids are row numbers from 1; {records.file} has ids of its own"
    else:
        absent, strange = len(set(wanted) - set(ids)), len(set(ids) - set(wanted))
        what = f"ids differ from {records.file}: {absent:,} missing, {strange:,} unknown"
    findings.add(what, line, received=received, allowed=allowed)


def _check_repeats(answers: Sequence[Answer], ids: Sequence[str], findings: Findings) -> bool:
    """Note ids that stand twice; say so where they start again with every batch."""
    seen: dict[str, int] = {}
    repeated = [
        (answer, text) for answer, text in zip(answers, ids, strict=True) if _repeats(text, answer, seen)
    ]
    if not repeated:
        return False
    first, text = repeated[0]
    if text == ids[0] and len(repeated) > 1:
        findings.add(
            "the ids start again: they count within a batch, not over the file",
            first.line,
            received=f"id {text}, first seen in line {seen[text]}",
        )
        return True
    for answer, text in repeated:
        findings.add(
            "the id stands twice", answer.line, received=f"id {text}, first seen in line {seen[text]}"
        )
    return True


def _repeats(text: str, answer: Answer, seen: dict[str, int]) -> bool:
    """Return whether ``text`` was seen before, remembering its first line."""
    return seen.setdefault(text, answer.line) != answer.line


def _first_difference(
    answers: Sequence[Answer], ids: Sequence[str], wanted: Sequence[str]
) -> tuple[int, str, str]:
    """Return the first line whose id differs, that id, and the one that belongs there."""
    for answer, one, other in zip(answers, ids, wanted, strict=False):
        if one != other:
            return answer.line, f"id {one}", f"id {other}"
    if len(ids) > len(wanted):
        return answers[len(wanted)].line, f"id {ids[len(wanted)]}", "the end of the file"
    return answers[-1].line, "the end of the file", f"id {wanted[len(ids)]}"


def _either(counts: Sequence[int]) -> str:
    """Return '3,861' or '12,426 or 12,241'."""
    return " or ".join(f"{count:,}" for count in counts)
