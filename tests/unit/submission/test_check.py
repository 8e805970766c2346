from __future__ import annotations

import json
from typing import Any

import pytest

from clue_runner.data.cards import Card
from clue_runner.data.records import Records
from clue_runner.submission.check import check_file

IDS = [7, 5, 9, 0]
LABELS = ["100", "102", "103", "102"]


def lines(ids: list[Any] = IDS, labels: list[Any] = LABELS) -> bytes:
    pairs = zip(ids, labels, strict=True)
    return "".join(json.dumps({"id": one, "label": label}) + "\n" for one, label in pairs).encode()


def found(card: Card, raw: bytes, records: Records[Any] | None, **extra: Any) -> list[str]:
    return [str(problem) for problem in check_file(card, card.submissions[0], raw, records, **extra)]


def test_a_good_file_has_no_problem(card: Card, records: Records[Any]) -> None:
    assert found(card, lines(), records) == []
    assert found(card, lines().rstrip(b"\n"), records) == []
    assert found(card, lines(), None) == []


PRETTY = json.dumps({"id": 7, "label": "100"}, indent=1)
MAPPING = json.dumps(dict(zip(map(str, IDS), LABELS, strict=True)))

# each row: bytes, what the first message must say, the line it must name (0: the file)
BROKEN: dict[str, tuple[bytes, str, int]] = {
    "empty": (b"", "the file is empty", 0),
    "only a blank line": (b"\n", "the file is empty", 0),
    "byte order mark": (b"\xef\xbb\xbf" + lines(), "UTF-8 byte order mark", 1),
    "utf-16": (lines().decode().encode("utf-16"), "UTF-16 byte order mark", 1),
    "gb18030": (lines() + '{"id": 1, "label": "体育"}\n'.encode("gb18030"), "not UTF-8", 5),
    "crlf": (lines().replace(b"\n", b"\r\n"), "CR LF", 1),
    "blank line inside": (lines().replace(b"\n", b"\n\n", 1), "blank line", 2),
    "blank line at the end": (lines() + b"\n", "blank line", 5),
    "bare list": (json.dumps(LABELS).encode(), "one JSON list of 4 items", 1),
    "pretty list": (f"[\n{PRETTY}\n]".encode(), "one JSON list of 1 items", 1),
    "one object": (MAPPING.encode(), "one JSON object with 4", 1),
    "pretty record": (PRETTY.encode(), "spread over several lines", 1),
    "table": (b"index\tlabel\n7\t100\n", "a table row", 1),
    "not json": (lines() + b"{'id': 1}\n", "not JSON", 5),
    "cut short": (lines()[:-5], "not JSON", 4),
    "no label": (lines() + b'{"id": 1}\n', "has no label", 5),
    "no id": (b'{"label": "100"}\n' * 4, "has no id", 1),
    "list line": (b'[7, "100"]\n[5, "100"]\n', "not a JSON object", 1),
    "nan": (lines(labels=["100", "102", float("nan"), "103"]), "NaN or Infinity", 3),
    "key twice": (lines() + b'{"id": 1, "label": "100", "label": "102"}\n', "duplicate key in one line", 5),
    "extra key": (lines().replace(b"}", b', "label_desc": ""}'), "unexpected keys", 1),
    "too deep": (lines() + b"[" * 100_000 + b"\n", "not JSON", 5),
    "index as text": (lines(labels=["0", "1", "2", "1"]), "class indices", 1),
    "index as number": (lines(labels=[0, 1, 2, 1]), "class indices", 1),
    "number": (lines(labels=[100, 102, 103, 102]), "the label is not a string", 1),
    "description": (lines(labels=["100", "102", "news_sports", "102"]), "write '103'", 3),
    "spaces": (lines(labels=["100", "102 ", "103", "102"]), "spelt differently (write '102')", 2),
    "unknown": (lines(labels=["100", "102", "103", "105"]), "not one of the card's", 4),
    "null": (lines(labels=["100", None, "103", "102"]), "the label is null", 2),
    "dash": (lines(labels=["100", "-", "103", "102"]), "without an agreed label", 2),
    "list label": (lines(labels=["100", ["102"], "103", "102"]), "not one of the card's", 2),
    "too few": (lines(IDS[:2], LABELS[:2]), "2 lines instead of 4", 0),
    "too many": (lines([*IDS, 11], [*LABELS, "100"]), "5 lines instead of 4", 0),
    "order": (lines([5, 7, 9, 0]), "test.json; the server compares line by line", 1),
    "sorted": (lines(sorted(IDS)), "test.json; the server compares line by line", 1),
    "row numbers": (lines([0, 1, 2, 3]), "row numbers from 0", 1),
    "row numbers from 1": (lines([1, 2, 3, 4]), "row numbers from 1", 1),
    "batch ids": (lines([0, 1, 0, 1]), "ids restart", 3),
    "id twice": (lines([7, 5, 5, 0]), "duplicate id", 3),
    "other id": (lines([7, 5, 9, 8]), "1 missing, 1 unknown", 4),
    "text id": (lines(["7", "5", "9", "0"]), "the id has the wrong type", 1),
    "one id as number and text": (lines([7, "7", 9, 0]), "duplicate id, got id 7, first seen on", 2),
    "true as id": (lines([7, 5, 9, True]), "the id has the wrong type", 4),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_every_known_fault_is_named_with_its_line(name: str, card: Card, records: Records[Any]) -> None:
    raw, expected, line = BROKEN[name]
    messages = found(card, raw, records)
    assert any(expected in message for message in messages), messages
    message = next(message for message in messages if expected in message)
    assert message.startswith(f"topics11_predict.json:{line}: " if line else "topics11_predict.json: ")
    assert "fix: clue " in message


def test_one_fault_on_every_line_is_one_message(card: Card, records: Records[Any]) -> None:
    (message,) = found(card, lines(labels=["x", "y", "z", "x"]), records)
    assert "4 lines, the first is shown" in message
    assert '"100", "102", "103"' in message


def test_the_index_message_says_which_label_was_meant(card: Card, records: Records[Any]) -> None:
    (message,) = found(card, lines(labels=["1", "1", "2", "1"]), records)
    assert "index 1 stands for '102'" in message


def test_true_without_quotes_is_told_from_an_unknown_label(card: Card) -> None:
    labels = [{"name": "true", "description": ""}, {"name": "false", "description": ""}]
    boolean = Card.model_validate({**card.model_dump(), "labels": labels})
    (message,) = found(boolean, lines(labels=[True, False, True, True]), None)
    assert "the label is not a string" in message and '"true", "false"' in message


def test_the_other_version_is_recognised_by_count(card: Card, records: Records[Any]) -> None:
    messages = found(card, lines([1, 2, 3], LABELS[:3]), records)
    assert "that is the number for test1.0, whose file is topics10_predict.json" in messages[0]


def test_the_other_version_is_recognised_by_ids(
    card: Card, records: Records[Any], old_records: Records[Any]
) -> None:
    messages = found(card, lines([1, 2, 3], LABELS[:3]), records, others={"test1.0": old_records})
    assert any("the ids are those of test1.0" in message for message in messages)


def test_sample_answers_are_not_for_upload(card: Card) -> None:
    (message,) = found(card, lines(IDS[:2], LABELS[:2]), None)
    assert "not for upload" in message


def test_sample_records_are_compared_with_themselves(card: Card, records: Records[Any]) -> None:
    short = Records("test1.1", records.items[:2], "test.json", "", 2)
    assert found(card, lines(IDS[:2], LABELS[:2]), short, sample=True) == []
    assert found(card, lines(IDS[:2], LABELS[:2]), short)  # the card's count holds for official data


def test_a_test_file_that_is_not_the_official_one_is_refused(card: Card, records: Records[Any]) -> None:
    more = Records("test1.1", records.items[:2], "test.json", "", 2)
    messages = found(card, lines(IDS[:2], LABELS[:2]), more)
    assert "the test file test.json has 2 records, the card says 4" in messages[0]


def test_without_test_records_order_is_not_judged(card: Card) -> None:
    assert found(card, lines([0, 1, 2, 3]), None) == []
