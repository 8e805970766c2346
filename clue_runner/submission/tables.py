"""Answers as a table, one ``id<TAB>answer`` per line: the layout of the SogouQA scoring tool.

In: (id, answer) pairs, or the lines of such a file. Out: bytes, answers, findings.
Knows nothing about scores or models.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from clue_runner.data.records import Records
from clue_runner.submission.findings import Findings, shorten
from clue_runner.submission.forms import Answer
from clue_runner.submission.ids import note_repeats
from clue_runner.submission.values import text_answer

ONE_LINE = "id, a tab, the answer; the answer may be empty"
SPACES = str.maketrans(dict.fromkeys("\t\n\r", " "))


def table(answers: Iterable[tuple[int | str, object]]) -> bytes:
    """Return one line per question; tabs and line ends inside an answer become spaces.

    Raises:
        DataError: an answer is not a string.
    """
    lines = (f"{name}\t{text_answer(value, name).translate(SPACES)}\n" for name, value in answers)
    return "".join(lines).encode()


def parse_table(lines: Sequence[str], findings: Findings) -> list[Answer]:
    """Return the answers of ``lines``; a line without exactly two columns is noted and left out."""
    answers = []
    for number, line in enumerate(lines, start=1):
        columns = line.split("\t")
        if line == "":
            continue
        if len(columns) == 2:
            answers.append(Answer(number, columns[0], columns[1]))
        else:
            findings.add("not id and answer", number, received=shorten(line), allowed=ONE_LINE)
    return answers


def check_table(answers: Sequence[Answer], records: Records[Any] | None, findings: Findings) -> None:
    """Note duplicate ids, and ids that are missing or unknown; the order is free."""
    given = [str(answer.id) for answer in answers]
    note_repeats(answers, given, findings)
    if records is None:
        return
    wanted = {str(record.id) for record in records.items}
    absent, strange = wanted - set(given), set(given) - wanted
    if absent or strange:
        findings.add(f"ids differ from {records.shown}: {len(absent):,} missing, {len(strange):,} unknown")
