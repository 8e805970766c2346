"""Tables of id and answer."""

from __future__ import annotations

import pytest

from clue_runner.data.cards import find_card
from clue_runner.data.locate import locate
from clue_runner.data.readers.passages import read_passage_records
from clue_runner.errors import DataError
from clue_runner.submission.answers import read_answers
from clue_runner.submission.check import check_file
from clue_runner.submission.findings import Findings
from clue_runner.submission.forms import upload_form
from clue_runner.submission.tables import table

CARD = find_card("sogouqa")
SUBMISSION = CARD.submissions[0]


def test_a_table_reads_back_and_stays_one_line_an_answer() -> None:
    raw = table([(1, "甲\t乙\n丙"), ("b", "")])
    assert raw == "1\t甲 乙 丙\nb\t\n".encode()
    findings = Findings("f")
    answers = read_answers(raw, findings, upload_form(SUBMISSION))
    assert [(answer.line, answer.id, answer.value) for answer in answers] == [
        (1, "1", "甲 乙 丙"),
        (2, "b", ""),
    ]
    assert not findings


@pytest.mark.parametrize(
    ("raw", "says"), [(b"1\n", "f:1"), (b"1\ta\n2\tb\tc\n", "f:2"), (b"", "empty"), (b"1\t\xff\n", "f:1")]
)
def test_broken_tables_say_where(raw: bytes, says: str) -> None:
    findings = Findings("f")
    read_answers(raw, findings, upload_form(SUBMISSION))
    (problem,) = findings.problems()
    assert says in str(problem)


@pytest.mark.parametrize("answer", [None, 3, ["甲"], True])
def test_only_texts_are_written(answer: object) -> None:
    with pytest.raises(DataError, match="the answer to 1 is not a string"):
        table([(1, answer)])


def test_the_checker_knows_the_ids() -> None:
    records = read_passage_records(CARD, locate(CARD, "sample"), "test")
    good = table((record.id, "x") for record in records.items)
    assert check_file(CARD, SUBMISSION, good, records, sample=True) == []
    for raw, says in (
        (good.split(b"\n", 1)[1], "1 missing, 0 unknown"),
        (good + b"zzz\tx\n", "0 missing, 1 unknown"),
        (good + good.split(b"\n")[0] + b"\n", "duplicate id"),
        (good.replace(b"\tx", b" x", 1), "not id and answer"),
    ):
        problems = check_file(CARD, SUBMISSION, raw, records, sample=True)
        assert any(says in str(problem) for problem in problems), problems
