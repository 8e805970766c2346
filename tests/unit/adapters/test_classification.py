from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest

from clue_runner.adapters.base import Prediction, load_adapter
from clue_runner.adapters.classification import Classification
from clue_runner.adapters.sections import load_run
from clue_runner.data.cards import Card, find_card
from clue_runner.data.records import Records, TextRecord
from clue_runner.errors import DataError, NotFiniteError

RUN = load_run(
    task="tnews", card_settings={}, model="test", overrides=["data.max_length=8", "model.segments=zero"]
)


def merged(card: Card, partials: Any, records: Any) -> Any:
    """Return what the adapter makes of partial results; it does not look at the rows."""
    return load_adapter(card).merge(partials, cast(Any, None), records)


class TwoTokens:
    """Stands for the tokenizer: two tokens a record, one record cut."""

    def pair_rows(self, texts: Any, max_length: int, segments: str) -> Any:
        assert (max_length, segments) == (8, "zero")
        offsets = np.arange(len(texts) + 1, dtype=np.int64) * 2
        return offsets, np.ones(offsets[-1], np.int32), np.zeros(offsets[-1], np.int32), 1


@pytest.fixture
def card() -> Card:
    return find_card("tnews")


@pytest.fixture
def records() -> Records[TextRecord]:
    items = [
        TextRecord(7, ("一",), "102", 1),
        TextRecord(3, ("二",), "100", 2),
        TextRecord(5, ("三",), "102", 3),
    ]
    return Records("dev", items, "dev.json", "", 3)


def with_labels(records: Records[TextRecord], labels: list[str]) -> list[Prediction]:
    return [Prediction(record.id, label) for record, label in zip(records.items, labels, strict=True)]


def row(card: Card, label: str) -> np.ndarray[Any, Any]:
    logits = np.full((1, len(card.labels)), -1.0, np.float32)
    logits[0, card.label_names.index(label)] = 2.0
    return cast(Any, load_adapter(card).decode_batch({"logits": logits}, {})[0])


def test_encode_keeps_order_and_label_indexes(card: Card, records: Records[TextRecord]) -> None:
    rows = load_adapter(card, RUN).encode(records, cast(Any, TwoTokens()))
    assert len(rows) == 3
    assert rows.columns["label"].dtype == np.int32
    assert rows.columns["label"].tolist() == [2, 0, 2]
    assert rows.record.tolist() == rows.group.tolist() == [0, 1, 2]
    assert rows.notes == {"cut to 8 tokens": 1}
    assert load_adapter(card).epoch_rows(rows, 42, 3) is rows


def test_encode_without_labels(card: Card, records: Records[TextRecord]) -> None:
    unlabelled = [TextRecord(record.id, record.texts, None, record.line) for record in records.items]
    rows = load_adapter(card, RUN).encode(
        Records("test1.1", unlabelled, "test.json", "", 3), cast(Any, TwoTokens())
    )
    assert rows.columns["label"].tolist() == [-1, -1, -1]


def test_probabilities_are_a_float32_softmax(card: Card) -> None:
    logits = np.array([[1.0, 2.0, 3.0], [1e4, -1e4, 0.0]], np.float64)
    first, second = load_adapter(card).decode_batch({"logits": logits}, {})
    assert first.dtype == np.float32
    assert first == pytest.approx([0.09003057, 0.24472847, 0.66524096], abs=1e-6)
    assert second == pytest.approx([1.0, 0.0, 0.0])


def test_merge_gives_file_order_and_leaves_padding_out(card: Card, records: Records[TextRecord]) -> None:
    partials = {2: row(card, "116"), -1: row(card, "100"), 0: row(card, "102"), 1: row(card, "104")}
    answers = merged(card, partials, records)
    assert [(one.id, one.prediction) for one in answers] == [(7, "102"), (3, "104"), (5, "116")]
    first = answers[0].probabilities
    assert first is not None and answers[0].probability == pytest.approx(first.max())


@pytest.mark.parametrize("rows", [[0, 1], [0, 1, 2, 3], [1, 2, 3]])
def test_merge_refuses_records_without_exactly_one_row(
    card: Card, records: Records[TextRecord], rows: list[int]
) -> None:
    with pytest.raises(RuntimeError, match=r"dev\.json"):
        merged(card, {index: row(card, "100") for index in rows}, records)


def test_merge_names_the_record_with_nan(card: Card, records: Records[TextRecord]) -> None:
    partials = {index: row(card, "100") for index in range(3)}
    partials[1] = partials[1] * np.nan
    with pytest.raises(NotFiniteError, match=r"dev.json:2"):
        merged(card, partials, records)


def test_equal_probabilities_give_the_first_label(card: Card, records: Records[TextRecord]) -> None:
    even = np.full(15, 1 / 15, np.float32)
    answers = merged(card, dict.fromkeys(range(3), even), records)
    assert {one.prediction for one in answers} == {"100"}


def test_ensemble_averages_probabilities(card: Card) -> None:
    records = Records("dev", [TextRecord(1, ("一",), None, 1)], "dev.json", "", 1)

    def member(*chosen: float) -> list[Prediction]:
        values = np.zeros(15, np.float32)
        values[:3] = chosen
        return [Prediction(1, "?", float(values.max()), values)]

    (answer,) = load_adapter(card).ensemble([member(0.6, 0.4, 0.0), member(0.0, 0.5, 0.5)], records)
    assert answer.prediction == "101"
    assert answer.probability == pytest.approx(0.45)


def test_ensemble_refuses_other_records_and_bare_labels(card: Card, records: Records[TextRecord]) -> None:
    full = merged(card, {index: row(card, "100") for index in range(3)}, records)
    with pytest.raises(DataError, match="run 2 of the ensemble answers records other"):
        load_adapter(card).ensemble([full, list(reversed(full))], records)
    with pytest.raises(DataError, match="run 1 of the ensemble has no probabilities"):
        load_adapter(card).ensemble([with_labels(records, ["100"] * 3)], records)


def test_score_beside_chance_and_interval(card: Card, records: Records[TextRecord]) -> None:
    scores = load_adapter(card).score(with_labels(records, ["102", "102", "100"]), records)
    assert scores.main == "accuracy" and scores.score == pytest.approx(100 / 3)
    assert scores.chance == pytest.approx(200 / 3)
    low, high = scores.confidence_interval
    assert 0 < low < scores.score < high < 100
    assert scores.values["recall/102"] == 50.0 and scores.values["precision/102"] == 50.0
    assert scores.values["macro_f1"] == pytest.approx(25.0)


def test_many_labels_are_not_listed_one_by_one() -> None:
    card = find_card("iflytek")
    records = Records("dev", [TextRecord(0, ("一",), "118", 1)], "dev.json", "", 1)
    scores = load_adapter(card).score([Prediction(0, "118")], records)
    assert set(scores.values) == {"accuracy", "macro_f1"}


def test_score_needs_labels_and_order(card: Card, records: Records[TextRecord]) -> None:
    unlabelled = Records("test1.1", [TextRecord(7, ("一",), None, 1)], "test.json", "", 1)
    with pytest.raises(DataError, match=r"test\.json: a split without answers"):
        load_adapter(card).score([Prediction(7, "100")], unlabelled)
    with pytest.raises(RuntimeError, match="order"):
        load_adapter(card).score(list(reversed(with_labels(records, ["100"] * 3))), records)


def test_submit_writes_the_code_and_never_the_index(card: Card, records: Records[TextRecord]) -> None:
    raw = load_adapter(card).submit(with_labels(records, ["102", "100", "116"]), card.submissions[0])
    assert raw == b'{"id":7,"label":"102"}\n{"id":3,"label":"100"}\n{"id":5,"label":"116"}\n'


def test_the_card_names_the_adapter(card: Card) -> None:
    assert isinstance(load_adapter(card), Classification)
