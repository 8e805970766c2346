from __future__ import annotations

import pytest

from clue_runner.data.records import PassagesRecord, Records, TextRecord
from clue_runner.errors import DataError
from clue_runner.submission.answers import read_predictions
from clue_runner.submission.forms import Form
from clue_runner.submission.predictions import align


def gold(
    ids: list[int | str], lines: list[int] | None = None, total: int | None = None
) -> Records[TextRecord]:
    places = lines or [number + 1 for number in range(len(ids))]
    items = [TextRecord(one, ("句",), "a", line) for one, line in zip(ids, places, strict=True)]
    return Records("dev", items, "dev.json", "", total or len(items), path="dev.json")


def given(pairs: list[tuple[object, str]]) -> bytes:
    import json

    return "".join(json.dumps({"id": one, "label": label}) + "\n" for one, label in pairs).encode()


def aligned(raw: bytes, records: Records[TextRecord]) -> tuple[str, str]:
    found = align(read_predictions(raw, "p.jsonl", Form()), records, "p.jsonl")
    return "".join(answer.value for answer in found.answers if answer), found.by


def test_both_forms_are_read() -> None:
    raw = b'{"id": 3, "prediction": "a", "probability": 0.5}\n\n{"id": "4", "label": "b"}\n'
    answers = read_predictions(raw, "p.jsonl", Form())
    assert [(one.line, one.id, one.value, one.probability) for one in answers] == [
        (1, 3, "a", 0.5),
        (3, "4", "b", None),
    ]


def test_by_id_whatever_the_order() -> None:
    assert aligned(given([(9, "x"), (7, "y")]), gold([7, 9])) == ("yx", "id")


def test_text_ids_mean_the_same() -> None:
    assert aligned(given([("7", "y"), ("9", "x")]), gold([7, 9])) == ("yx", "id")


def test_line_numbers_where_gold_has_ids_of_its_own() -> None:
    assert aligned(given([(0, "x"), (1, "y")]), gold([7, 9])) == (
        "xy",
        "row order, since the ids only count lines",
    )
    assert aligned(given([(1, "x"), (2, "y")]), gold([7, 9]))[0] == "xy"


def test_no_ids_at_all() -> None:
    raw = b'{"label": "x"}\n{"label": "y"}\n'
    assert aligned(raw, gold([7, 9])) == ("xy", "row order, since the file has no ids")


def test_repeated_gold_ids_go_by_row() -> None:
    assert aligned(given([(3, "x"), (3, "y")]), gold([3, 3])) == (
        "xy",
        "row order, since the gold ids repeat",
    )


def test_answers_to_unscored_rows_are_ignored() -> None:
    records = gold([10, 12], lines=[1, 3], total=3)
    assert aligned(given([(10, "x"), (11, "-"), (12, "y")]), records)[0] == "xy"
    assert aligned(given([(0, "x"), (1, "-"), (2, "y")]), records)[0] == "xy"
    assert (
        "1 rows without an agreed label ignored"
        in aligned(given([(12, "y"), (11, "-"), (10, "x")]), records)[1]
    )


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        ([(7, "x"), (7, "y")], r"p.jsonl:2: duplicate id 7, first on line 1"),
        ([(7, "x")], r"dev.json:2: no answer for id 9"),
        ([(7, "x"), (8, "y")], r"p.jsonl:2: id 8 is not in dev.json"),
        ([(7, "x"), ("9 ", "y")], r"p.jsonl:2: id '9 ', with blanks around it, is not in dev.json"),
        ([(7, "x"), (9, "y"), (11, "y")], r"p.jsonl:3: id 11 is not in dev.json"),
        ([(7, "x"), (None, "y")], r"p.jsonl:2: the line has no id"),
    ],
)
def test_ids_that_do_not_fit(pairs: list[tuple[object, str]], expected: str) -> None:
    with pytest.raises(DataError, match=expected) as caught:
        aligned(given(pairs), gold([7, 9]))
    assert caught.value.exit_code == 3


def test_rows_of_records_without_lines_do_not_fit() -> None:
    items = [PassagesRecord(number, "问", (), ("答",)) for number in (7, 9)]
    records = Records("dev", items, "dev.json", "", 3, path="dev.json")
    for raw in (given([(0, "x"), (1, "y"), (2, "z")]), b'{"label": "x"}\n' * 3):
        with pytest.raises(DataError, match="3 answers for 2 records"):
            align(read_predictions(raw, "p.jsonl", Form()), records, "p.jsonl")


def test_rows_that_do_not_fit() -> None:
    with pytest.raises(DataError, match="3 answers for 2 records"):
        aligned(b'{"label": "x"}\n' * 3, gold([7, 9]))


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"", "is empty"),
        (b"\xff\xfe", "UTF-16 byte order mark"),
        (b'{"label": "\xff"}', "p.jsonl:1: the file is not UTF-8"),
        (b'{"id": 1, "label": "a"}\nnonsense\n', r"p.jsonl:2"),
        (b'{"id": 1}\n', "no prediction and no label"),
        (b"[1]\n", "one JSON list of 1 items"),
        (b"1\n[1]\n", "not a JSON object"),
        (b'{"id": 1.5, "label": "a"}\n', "the id is neither an integer"),
        (b'{"id": 1, "label": NaN}\n', r"p.jsonl:1"),
    ],
)
def test_files_that_cannot_be_read(raw: bytes, expected: str) -> None:
    with pytest.raises(DataError, match=expected):
        read_predictions(raw, "p.jsonl", Form())
