from __future__ import annotations

import json
from typing import Any

import pytest

from clue_runner.data.cards import Card
from clue_runner.errors import DataError
from clue_runner.submission.check import check_file
from clue_runner.submission.writers import json_lines, json_object


def test_golden_bytes(card: Card) -> None:
    raw = json_lines([(7, "100"), (5, "103")], card.submissions[0])
    assert raw == b'{"id":7,"label":"100"}\n{"id":5,"label":"103"}\n'


def test_chinese_labels_stay_readable(card: Card) -> None:
    assert json_lines([(7, "体育")], card.submissions[0]).decode("utf-8") == '{"id":7,"label":"体育"}\n'


def test_types_follow_the_card(card: Card) -> None:
    as_text = card.submissions[0].model_copy(update={"id_type": "str", "label_type": "int"})
    assert json.loads(json_lines([(7, "2")], as_text)) == {"id": "7", "label": 2}
    assert json.loads(json_lines([("7", "100")], card.submissions[0]))["id"] == 7


@pytest.mark.parametrize("wrong", ["seven", None, 1.0, True])
def test_an_id_that_is_no_number_is_refused(card: Card, wrong: Any) -> None:
    with pytest.raises(DataError, match=r"topics11_predict.json:1: the id cannot be written as a number"):
        json_lines([(wrong, "100")], card.submissions[0])


@pytest.mark.parametrize("wrong", [None, 1, ["100"], {"100": 1}, True])
def test_an_answer_that_is_no_text_is_never_written_as_one(card: Card, wrong: Any) -> None:
    with pytest.raises(DataError, match=r"topics11_predict.json:1: the label cannot be written as a string"):
        json_lines([(7, wrong)], card.submissions[0])
    with pytest.raises(DataError, match="the answer cannot be written as a string"):
        json_object([("DEV_0", wrong)], card.submissions[0])


def test_what_is_written_passes_the_check(card: Card, records: Any) -> None:
    raw = json_lines(((record.id, "102") for record in records.items), card.submissions[0])
    assert check_file(card, card.submissions[0], raw, records) == []
