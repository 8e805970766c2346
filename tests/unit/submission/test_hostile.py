"""Files that no program wrote: whatever stands in them ends in findings or one error, never in a crash."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from clue_runner.data.cards import Card, find_card
from clue_runner.data.layouts import read_records
from clue_runner.data.records import Records
from clue_runner.errors import ClueError
from clue_runner.submission.answers import check_values, read_predictions
from clue_runner.submission.check import check_file
from clue_runner.submission.findings import Findings
from clue_runner.submission.forms import Answer, scoring_form
from clue_runner.submission.objects import count_answers
from clue_runner.submission.predictions import align
from clue_runner.submission.values import asked_ids

TASKS = ("afqmc", "cluener", "cmrc2018", "c3", "chid", "sogouqa", "iflytek")
ROUNDS = 150  # of each task

# values that break a reader which trusts them: types, sizes, depth, numbers that are none, escapes
VALUES = (
    "null", "true", "1.5", "-1", "1e999", "-Infinity", "NaN", "1" * 5000, '"\\ud800"', '"\\u0000"', '""',
    "[]", "{}", "[[]]", "[" * 40 + "]" * 40, "[" * 3000, '{"text": 1}', '[{"text": "x"}]',
    '{"a": {"b": [[0, 1]]}}',
    '{"address": {"x": [[1e400, "y"]]}}', '{"address": {"x": [[' + "9" * 400 + ', 0]]}}',
    '{"address": {"": [[0, -1]]}}', '"\\u001b[31m"', '{"id": 1}', '"' + "x" * 5000 + '"',
)  # fmt: skip
BYTES = (
    b"",
    b"\x00",
    b"\xff",
    b"\xef\xbb\xbf",
    b"\r",
    b"\n",
    b"\t",
    b'"',
    b"{",
    b"}",
    b"[",
    b",",
    b":",
    b"\\",
)


def records_of(card: Card) -> Records[Any]:
    from clue_runner.data.locate import locate

    split = card.submissions[0].split
    return read_records(card, locate(card, "sample"), split)


def good_file(card: Card, records: Records[Any]) -> bytes:
    """A submission with one made-up answer a record."""
    submission = card.submissions[0]
    value = {"cluener": "{}", "c3": "0", "chid": "0", "afqmc": '"0"'}.get(card.name, '"100"')
    names = asked_ids(records) if submission.shape == "object" else [one.id for one in records.items]
    if submission.shape == "table":
        return "".join(f"{name}\t甲\n" for name in names).encode()
    if submission.shape == "object":
        return ("{\n" + ",\n".join(f'"{name}": {value}' for name in names) + "\n}\n").encode()
    return "".join(f'{{"id": {json.dumps(name)}, "label": {value}}}\n' for name in names).encode()


def mutated(raw: bytes, generator: random.Random) -> bytes:
    for _ in range(generator.randint(1, 4)):
        place, length = generator.randrange(len(raw) + 1), generator.choice((0, 1, 1, 2, 9, 60))
        patch = generator.choice((generator.choice(BYTES), generator.choice(VALUES).encode()))
        if generator.random() < 0.3:  # a whole value
            place = raw.find(b": ", place) + 2
            length = max(raw.find(b"}", place), place) - place
            patch = generator.choice(VALUES).encode()
        raw = raw[:place] + patch + raw[place + length :]
    return raw


def upload_findings(card: Card, raw: bytes, records: Records[Any] | None) -> list[str]:
    submission = card.submissions[0]
    return [str(one) for one in check_file(card, submission, raw, records, sample=records is not None)]


def scoring_findings(card: Card, raw: bytes, records: Records[Any]) -> list[str]:
    """What ``clue evaluate`` says of the file, short of scoring it."""
    findings = Findings("p")
    try:
        answers = read_predictions(raw, "p", scoring_form(card))
        check_values(answers, card, None, findings)
        aligned = align(answers, records, "p")
    except ClueError as error:
        assert error.exit_code == 3
        return [*map(str, findings.problems()), str(error)]
    pairs = zip(records.items, aligned.answers, strict=True)
    given = [Answer(answer.line, record.id, answer.value) for record, answer in pairs if answer]
    check_values(given, card, records, findings)
    return [str(problem) for problem in findings.problems()]


def all_findings(card: Card, raw: bytes, records: Records[Any]) -> list[str]:
    """Do everything that is done with such a file, and return what is said."""
    count_answers(raw, card.submissions[0].shape)
    said = upload_findings(card, raw, records) + upload_findings(card, raw, None)
    said += scoring_findings(card, raw, records)
    for text in said:
        assert all(line.isprintable() for line in text.split("\n")), ascii(text)
        assert len(text) < 20_000
    return said


@pytest.mark.parametrize("task", TASKS)
def test_mutated_files_end_in_findings(task: str) -> None:
    card = find_card(task)
    records = records_of(card)
    good = good_file(card, records)
    assert upload_findings(card, good, records) == scoring_findings(card, good, records) == []
    generator = random.Random(f"hostile {task}")
    refused = 0
    for _ in range(ROUNDS):
        raw = mutated(good, generator)
        all_findings(card, raw, records)
        refused += bool(upload_findings(card, raw, records))
    assert refused > 0.9 * ROUNDS, "nearly every mutation is seen"


def is_answer(task: str, value: str) -> bool:
    """Whether the value is one of the task's: any text without half characters, or no entities."""
    return (
        value == "{}" if task == "cluener" else task == "cmrc2018" and value[0] == '"' and "ud8" not in value
    )


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("task", [task for task in TASKS if task != "sogouqa"])  # a column is always a text
def test_each_value_in_the_place_of_an_answer(task: str, value: str) -> None:
    card = find_card(task)
    records = records_of(card)
    good = good_file(card, records).decode()
    line = next(line for line in good.split("\n") if ": " in line)
    place = line.rindex(": ") + 2
    end = line[-1] if line[-1] in "}," else ""
    raw = good.replace(line, line[:place] + value + end, 1).encode()
    all_findings(card, raw, records)
    assert bool(upload_findings(card, raw, records)) is not is_answer(task, value)


def test_booleans_among_class_indices_are_findings() -> None:
    card = find_card("iflytek")
    raw = b'{"id": 0, "label": true}\n{"id": 1, "label": "200"}\n{"id": 2, "label": 3}\n'
    assert check_file(card, card.submissions[0], raw, None)
    raw = b'{"id": 0, "label": true}\n{"id": 1, "label": 1}\n'
    topics = card.model_copy(update={"labels": [label for label in card.labels if label.name not in "01"]})
    said = [str(problem) for problem in check_file(topics, card.submissions[0], raw, None)]
    assert any("the labels are class indices" in text and ":2: " in text for text in said), said


@pytest.mark.parametrize(
    "raw",
    [
        b'{"id": "\\u001b[31mred\\u0007", "label": "0"}\n',
        b'{"id": 0, "label": "\\u001b]0;title\\u0007"}\n',
        b'{"id": 0, "label": "0", "\\u001b[2J": 1}\n',
        b'{"id": 0, "label": "0", "\\u202eevil": 1, "\\u202eevil": 2}\n',
        b'\x1b[31m{"id": 0}\n',
        b'{"id": 0, "id\x1b": 1}\n',
        b'{"\\u009b31m": "0"}',
    ],
)
def test_terminal_escapes_are_shown_as_escapes(raw: bytes) -> None:
    card = find_card("afqmc")
    records = records_of(card)
    assert all_findings(card, raw * 2, records)


def test_ids_with_escapes_are_shown_as_escapes_whichever_check_names_them() -> None:
    name = "\x1b[31m" + "x" * 200
    for task in ("chid", "sogouqa", "cmrc2018", "afqmc"):
        card = find_card(task)
        records = records_of(card)
        for names in ((name,), (name, name)):
            if card.submissions[0].shape == "table":
                raw = "".join(f"{one}\t甲\n" for one in names).encode()
            else:
                raw = "".join(json.dumps({"id": one, "label": 0}) + "\n" for one in names).encode()
            said = all_findings(card, raw, records)
            assert said and not any("\x1b" in text or "x" * 100 in text for text in said), (task, said)
