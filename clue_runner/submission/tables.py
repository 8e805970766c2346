"""Answers as a table, one ``id<TAB>answer`` a line: the layout of the SogouQA scoring tool.

In: (id, answer) pairs, or the bytes of such a file. Out: bytes, answers, or what is wrong with the file.
Knows nothing about scores or models.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from clue_runner.data.records import Records
from clue_runner.errors import DataError, Problem
from clue_runner.submission.findings import Findings, shorten

ONE_LINE = "id, a tab, the answer; the answer may be empty"
SPACES = str.maketrans(dict.fromkeys("\t\n\r", " "))


def table(answers: Iterable[tuple[int | str, object]]) -> bytes:
    """Return one line a question; tabs and line ends inside an answer become spaces."""
    return "".join(f"{name}\t{str(answer).translate(SPACES)}\n" for name, answer in answers).encode()


def read_table(raw: bytes, name: str) -> list[tuple[str, str]]:
    """Return (id, answer) of each line.

    Raises:
        DataError: not UTF-8, or a line that has not exactly two columns; all of them with file:line.
    """
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            "the file is not UTF-8", where=f"{name}:{raw.count(10, 0, error.start) + 1}"
        ) from None
    answers, problems = [], []
    for number, line in enumerate(text.split("\n"), 1):
        columns = line.removesuffix("\r").split("\t")
        if line == "":
            continue
        if len(columns) == 2:
            answers.append((columns[0], columns[1]))
        else:
            problems.append(Problem("not id and answer", f"{name}:{number}", shorten(line), ONE_LINE))
    if problems:
        raise DataError("the answers cannot be read", where=name, problems=problems)
    if not answers:
        raise DataError("the file is empty", where=name, allowed=ONE_LINE)
    return answers


def check_table(raw: bytes, records: Records[Any] | None, findings: Findings) -> None:
    """Note lines that are no answers, ids that stand twice, and ids that are missing or not asked for."""
    try:
        answers = read_table(raw, "")
    except DataError as error:
        for problem in error.problems or (error.headline,):
            line = (problem.where or "").rpartition(":")[2]
            number = int(line) if line.isdigit() else None
            findings.add(problem.what, number, received=problem.received, allowed=problem.allowed)
        return
    given = [name for name, _ in answers]
    for name in sorted(
        {name for name in given if given.count(name) > 1} if len(set(given)) < len(given) else ()
    ):
        findings.add(f"id {name} stands twice", given.index(name) + 1)
    if records is None:
        return
    wanted = [str(record.id) for record in records.items]
    absent, strange = set(wanted) - set(given), set(given) - set(wanted)
    if absent or strange:
        findings.add(f"ids differ from {records.file}: {len(absent):,} missing, {len(strange):,} unknown")
