"""Would the leaderboard accept this file? Finds and explains every known cause of a score of 0.

In: a card, one of its submissions, the file's bytes, and the test records if available.
Out: problems, each with its line, what was found, what is allowed, and the command that fixes it.
Knows nothing about folders and zips (``gather``) or names (``names``).

The server compares labels line by line with its own file: the count and the order decide, and a
label that it does not know is wrong. In a file that is one object from id to answer, every id must be
there, in any order. Causes and their sources: the cards and docs/decisions.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from clue_runner.data.cards import Card, Submission
from clue_runner.data.layouts import read_records
from clue_runner.data.locate import locate
from clue_runner.data.records import Records
from clue_runner.errors import Problem
from clue_runner.submission.answers import check_values, read_answers
from clue_runner.submission.findings import Findings
from clue_runner.submission.forms import MAX_BYTES, TOO_LARGE, Answer, upload_form
from clue_runner.submission.ids import check_id_types, check_ids, check_keys
from clue_runner.submission.objects import count_answers
from clue_runner.submission.tables import check_table
from clue_runner.submission.values import asked_ids


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
    """Return the problems of a submission file; an empty list means that it may be submitted.

    Args:
        card: the task.
        submission: which of the card's files this is.
        raw: the file's bytes.
        records: the test records in file order; None: order and ids are not compared.
        name: the file's name in messages; default: the official name.
        sample: the records are the card's own sample, so the card's counts do not apply.
        others: test records of the task's other versions, to recognise a mix-up (split -> records).
    """
    findings = Findings(name or submission.file, fix=fixing_command(card))
    if len(raw) > MAX_BYTES:
        findings.add(TOO_LARGE, received=f"more than {MAX_BYTES:,} bytes", allowed=f"{MAX_BYTES:,} bytes")
        return findings.problems()
    answers = read_answers(raw, findings, upload_form(submission))
    if not answers:
        return findings.problems()
    check_values(answers, card, records, findings, submission)
    if submission.shape == "table":
        check_table(answers, records, findings)
        return findings.problems()
    is_object = submission.shape == "object"
    # Every line counts, even one that is not an answer.
    count = len(answers) if is_object else count_answers(raw, submission.shape)
    _check_count(answers, count, card, submission, records, sample, findings)
    if is_object:
        check_keys(answers, records, others or {}, findings)
    else:
        check_id_types(answers, submission, findings)
        check_ids(answers, records, others or {}, findings)
    return findings.problems()


def fixing_command(card: Card) -> str:
    """Return the command that writes the task's files again."""
    run = "" if "train" in card.splits else " --run RUN"
    return f"clue predict{run} --task {card.name} --split test"


def expected_counts(card: Card, submission: Submission) -> list[int]:
    """Return how many answers the card allows; empty if unknown.

    Cards count records. If the file answers blanks, no source gives their number: only the test
    file itself does, and ``count_warning`` reports whether that is complete.
    """
    answers_blanks = card.layout == "chid" and submission.shape == "object"
    return [] if answers_blanks else card.splits[submission.split].records


def count_warning(card: Card, submission: Submission, records: Records[Any] | None) -> str | None:
    """Return the warning where a file's count cannot show that the test file is incomplete."""
    known = card.splits[submission.split].records
    if records is None or expected_counts(card, submission) or not known or records.total in known:
        return None
    return (
        f"{submission.file} answers every blank of {records.shown}, which has {records.total:,} records "
        f"where the official file has {_either(known)}: the leaderboard expects all of them; "
        f"clue data get {card.name}"
    )


def _check_count(
    answers: Sequence[Answer],
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
            f"the test file {records.shown} has {records.total:,} records, the card says {_either(allowed)}",
            allowed="the official test file",
            fix=f"clue data get {card.name}",
        )
    if not allowed and not sample and _is_sample(answers, card, submission):
        _refuse_sample(f"{count:,} answers", card, findings)
    if not allowed or count in allowed:
        return
    what = f"{count:,} {'answers' if submission.shape == 'object' else 'lines'} instead of {_either(allowed)}"
    for other in card.submissions:
        if other is not submission and count in expected_counts(card, other):
            findings.add(
                f"{what}: that is the number for {other.split}, whose file is {other.file}",
                fix=f"rename it to {other.file}, and clue predict --task {card.name} --split test",
            )
            return
    if not sample and card.sample and count == card.sample.records.get(submission.split):
        _refuse_sample(what, card, findings)
        return
    findings.add(what)


def _refuse_sample(what: str, card: Card, findings: Findings) -> None:
    findings.add(
        f"{what}: these are answers to the sample records that ship with the card, not for upload",
        fix=f"clue data get {card.name}, then clue train --task {card.name}",
    )


def _is_sample(answers: Sequence[Answer], card: Card, submission: Submission) -> bool:
    """Return whether the ids are those of the sample, if the count cannot tell."""
    if card.sample is None or submission.split not in card.sample.records:
        return False
    records = read_records(card, locate(card, "sample"), submission.split)
    return {str(answer.id) for answer in answers} == set(asked_ids(records))


def _either(counts: Sequence[int]) -> str:
    return " or ".join(f"{count:,}" for count in counts)
