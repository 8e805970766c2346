"""What every adapter promises, checked on the sample records of every card.

A new adapter adds one line to ``GOLD`` (the answer that gold gives) and to ``OUTPUTS`` (made-up network
outputs for a batch); everything else is the same for all.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clue_runner.adapters.base import Adapter, Prediction, Scores, load_adapter
from clue_runner.adapters.checks import place_of
from clue_runner.adapters.sections import load_run
from clue_runner.config.schema import Run
from clue_runner.config.shipped import shipped_folder
from clue_runner.data.cards import Card, all_cards, recommended_settings
from clue_runner.data.kinds import all_kinds
from clue_runner.data.locate import locate
from clue_runner.errors import DataError
from clue_runner.submission.check import check_file
from clue_runner.tokens.batches import batch_arrays, evaluation_plan
from clue_runner.tokens.rows import Array, Rows
from clue_runner.tokens.tokenizer import Tokenizer

MAX_LENGTH = 48
CARDS = {name: card for name, card in all_cards().items() if card.sample}


def random_logits(card: Card, batch: Mapping[str, Array]) -> dict[str, Array]:
    """Logits that depend on the row alone, so that any batching must give the same answers."""
    logits = np.zeros((len(batch["row"]), len(card.labels)), np.float32)
    for place, row in enumerate(batch["row"].tolist()):
        logits[place] = np.random.default_rng(row + 1).normal(size=len(card.labels))
    return {"logits": logits}


def random_scores(card: Card, batch: Mapping[str, Array]) -> dict[str, Array]:
    """One score a row that depends on the row alone."""
    scores = [np.random.default_rng(row + 1).normal() for row in batch["row"].tolist()]
    return {"logits": np.array(scores, np.float32)}


def random_spans(card: Card, batch: Mapping[str, Array]) -> dict[str, Array]:
    """Two spans of each window's text that depend on the row alone."""
    first, last = np.zeros((2, len(batch["row"]), 2), np.int32)
    scores = np.zeros(first.shape, np.float32)
    ends = np.asarray(batch["lengths"], np.int64) - 2
    for place, row in enumerate(batch["row"].tolist()):
        generator = np.random.default_rng(row + 1)
        spans = generator.integers(batch["text_start"][place], max(ends[place], 1) + 1, (2, 2))
        first[place], last[place] = np.sort(spans, axis=1).T
        scores[place] = -np.sort(generator.exponential(size=2))
    return {"best_first": first, "best_last": last, "best_scores": scores}


def random_entities(card: Card, batch: Mapping[str, Array]) -> dict[str, Array]:
    """Scores above 0 for three spans of each text that depend on the row alone."""
    rows, length = np.asarray(batch["token_ids"]).shape
    scores = np.full((rows, len(card.labels), length, length), -1.0, np.float32)
    for place, (row, count) in enumerate(zip(batch["row"].tolist(), batch["lengths"].tolist(), strict=True)):
        generator = np.random.default_rng(row + 1)
        for _ in range(3 if count > 2 else 0):
            first, last = np.sort(generator.integers(1, count - 1, 2))
            scores[place, generator.integers(len(card.labels)), first, last] = 1.0
    return {"span_scores": scores}


def random_tags(card: Card, batch: Mapping[str, Array]) -> dict[str, Array]:
    """Logits of answers' ends at two places of each passage that depend on the row alone."""
    rows, length = np.asarray(batch["token_ids"]).shape
    found = {name: np.full((rows, length), -9.0, np.float32) for name in ("start", "end")}
    for place, (row, count) in enumerate(zip(batch["row"].tolist(), batch["lengths"].tolist(), strict=True)):
        generator = np.random.default_rng(row + 1)
        for values in found.values():
            values[place, generator.integers(0, count, 2)] = generator.normal(size=2)
    return {"gate": np.zeros(rows, np.float32), **found}


def random_texts(card: Card, batch: Mapping[str, Array]) -> dict[str, Array]:
    """Two sequences of tokens that depend on the row alone, the second ended by [SEP]."""
    tokens = np.zeros((len(batch["row"]), 2, 6), np.int32)
    scores = np.zeros(tokens.shape[:2], np.float32)
    for place, row in enumerate(batch["row"].tolist()):
        generator = np.random.default_rng(row + 1)
        tokens[place] = generator.integers(700, 6000, tokens.shape[1:])
        tokens[place, 1, 3:] = 102
        scores[place] = -np.sort(generator.exponential(size=2))
    return {"tokens": tokens, "scores": scores}


def entity_label(record: Any) -> dict[str, dict[str, list[list[int]]]]:
    """The record's entities as its file writes them."""
    label: dict[str, dict[str, list[list[int]]]] = {}
    for one in record.entities:
        label.setdefault(one.type, {}).setdefault(one.surface, []).append([one.start, one.end])
    return label


GOLD: dict[str, Callable[[Any], Any]] = {
    "entities": entity_label,
    "reading": lambda record: record.references[-1],
    "dgcnn_reading": lambda record: record.answers[0],
    "classification": lambda record: record.label,
    "choice": lambda record: record.answer,
    "generation": lambda record: record.target,
    "cloze": lambda record: dict(zip(record.tags, record.answers, strict=True)),
}
OUTPUTS: dict[str, Callable[[Card, Mapping[str, Array]], dict[str, Array]]] = {
    "entities": random_entities,
    "reading": random_spans,
    "dgcnn_reading": random_tags,
    "classification": random_logits,
    "choice": random_scores,
    "cloze": random_scores,
    "generation": random_texts,
}


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer(Path(shipped_folder("configs")) / "models" / "vocab" / "zh.txt", lowercase=True)


@pytest.fixture(params=CARDS, scope="module")
def card(request: pytest.FixtureRequest) -> Card:
    return CARDS[request.param]


@pytest.fixture(scope="module")
def adapter(card: Card) -> Adapter:
    return load_adapter(card, settings(card))


def settings(card: Card, *overrides: str) -> Run:
    return load_run(
        task=card.name,
        card_settings=recommended_settings(card),
        model="test",
        configs=[],
        overrides=[f"data.max_length={MAX_LENGTH}", *overrides],
        flags={},
    )


def encode(card: Card, adapter: Adapter, tokenizer: Tokenizer, split: str) -> tuple[Any, Rows]:
    # diagnostics have nothing but a test split
    present = split if split in card.splits else card.test_splits[0]
    records = adapter.read(locate(card, "sample"), present)
    return records, adapter.encode(records, adapter.own_tokenizer({"train": records}) or tokenizer)


def answers(card: Card, adapter: Adapter, records: Any, rows: Rows, tokens: int, buckets: Any) -> Any:
    partials: dict[int, Any] = {}
    for indices in evaluation_plan(rows, tokens=tokens, buckets=buckets):
        batch = batch_arrays(rows, indices, tokens=tokens, buckets=buckets)
        decoded = adapter.decode_batch(OUTPUTS[card.adapter](card, batch), batch)
        assert len(decoded) == len(batch["row"])
        partials.update(zip(batch["row"].tolist(), decoded, strict=True))
    return adapter.merge(partials, rows, records)


def test_every_adapter_has_its_oracle(card: Card) -> None:
    assert card.adapter in GOLD and card.adapter in OUTPUTS


def test_every_adapter_says_what_a_card_of_its_kind_needs(card: Card) -> None:
    assert card.adapter in all_kinds()


def test_rows_belong_to_records_in_order(card: Card, adapter: Adapter, tokenizer: Tokenizer) -> None:
    records, rows = encode(card, adapter, tokenizer, "train")
    assert set(rows.record.tolist()) == set(range(len(records)))
    assert (np.diff(rows.record) >= 0).all() and (np.diff(rows.group) >= 0).all()
    assert rows.lengths.max() <= MAX_LENGTH
    token_ids = rows.tokens["token_ids"]
    assert token_ids.dtype == np.int32
    assert token_ids.min() >= 0 and token_ids.max() < tokenizer.vocab_size
    if adapter.family is None:
        assert rows.tokens["segment_ids"].dtype == np.int32
        assert (token_ids[rows.offsets[:-1]] == tokenizer.cls_id).all()
    assert len(adapter.epoch_rows(rows, 42, 0)) > 0


@pytest.mark.parametrize("name", [name for name, card in CARDS.items() if "dev" in card.splits])
def test_gold_answers_score_100(name: str) -> None:
    card, adapter = CARDS[name], load_adapter(CARDS[name])
    records = adapter.read(locate(card, "sample"), "dev")
    gold = [Prediction(record.id, GOLD[card.adapter](record)) for record in records.items]
    for metric in all_kinds()[card.adapter].metrics:
        other = load_adapter(card.model_copy(update={"metric": metric})).score(gold, records)
        assert other.main == metric and other.score == pytest.approx(100.0)
    scores = adapter.score(gold, records)
    assert scores.main == card.metric and scores.score == pytest.approx(100.0)
    assert scores.examples == len(records)
    assert scores.summed is not None  # what comparisons draw from
    assert 0 <= scores.chance < 100
    low, high = scores.confidence_interval
    assert 0 <= low <= 100.0 and high == pytest.approx(100.0)


@pytest.mark.parametrize(("tokens", "buckets"), [(48, None), (700, None), (100_000, None), (512, (16, 48))])
def test_submission_order_is_file_order_for_any_batching(
    card: Card, adapter: Adapter, tokenizer: Tokenizer, tokens: int, buckets: tuple[int, ...] | None
) -> None:
    for submission in card.submissions:
        records, rows = encode(card, adapter, tokenizer, submission.split)
        found = answers(card, adapter, records, rows, tokens, buckets)
        assert [one.id for one in found] == [record.id for record in records.items]
        raw = adapter.submit(found, submission)
        assert raw == adapter.submit(answers(card, adapter, records, rows, 997, None), submission)
        assert check_file(card, submission, raw, records, sample=True) == []
        if submission.shape == "lines":
            lines = [json.loads(line) for line in raw.decode("utf-8").splitlines()]
            assert [line["id"] for line in lines] == [record.id for record in records.items]


def test_a_lost_row_is_our_bug_and_not_an_answer(card: Card, adapter: Adapter, tokenizer: Tokenizer) -> None:
    records, rows = encode(card, adapter, tokenizer, "dev")
    batch = batch_arrays(rows, np.arange(len(rows) - 1), tokens=10**6, buckets=None)
    decoded = adapter.decode_batch(OUTPUTS[card.adapter](card, batch), batch)
    with pytest.raises(RuntimeError):
        adapter.merge(dict(enumerate(decoded)), rows, records)


def test_an_ensemble_of_one_run_is_that_run(card: Card, adapter: Adapter, tokenizer: Tokenizer) -> None:
    records, rows = encode(card, adapter, tokenizer, "dev")
    single = answers(card, adapter, records, rows, 512, None)
    joint = adapter.ensemble([single, single], records)
    assert [(one.id, one.prediction) for one in joint] == [(one.id, one.prediction) for one in single]


# ---------------------------------------------------------------------------- what answers must be

LABELLED = [name for name, card in CARDS.items() if "dev" in card.splits]
NO_ANSWERS: tuple[Any, ...] = (
    3.5,
    True,
    [{"text": "甲", "probability": 1.0}],
    ["甲", "乙"],
    {"甲": {"乙": "丙"}},
    "9" * 5000,
)


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        pytest.param(name, wrong, id=f"{name} {wrong!r:.12}")
        for name in LABELLED
        for wrong in NO_ANSWERS
        if not (isinstance(wrong, str) and CARDS[name].adapter in {"reading", "dgcnn_reading", "generation"})
    ],
)
def test_nothing_else_is_scored_as_an_answer(name: str, wrong: Any) -> None:
    card, adapter = CARDS[name], load_adapter(CARDS[name])
    records = adapter.read(locate(card, "sample"), "dev")
    given = [Prediction(record.id, GOLD[card.adapter](record)) for record in records.items]
    given[1] = Prediction(given[1].id, wrong)
    with pytest.raises(DataError) as caught:
        adapter.score(given, records)
    assert place_of(records, 1) in str(caught.value)


@pytest.mark.parametrize("name", [name for name in LABELLED if CARDS[name].adapter != "reading"])
def test_no_answer_is_not_scored(name: str) -> None:
    card, adapter = CARDS[name], load_adapter(CARDS[name])
    records = adapter.read(locate(card, "sample"), "dev")
    with pytest.raises(DataError):
        adapter.score([Prediction(record.id, None) for record in records.items], records)


# ---------------------------------------------------------------------------- what a page shows


@pytest.mark.parametrize("name", LABELLED)
def test_a_page_can_draw_every_record_without_knowing_the_task(name: str) -> None:
    card, adapter = CARDS[name], load_adapter(CARDS[name])
    records = adapter.read(locate(card, "sample"), "dev")
    for record in records.items:
        shown = adapter.show(record, Prediction(record.id, GOLD[card.adapter](record)))
        assert shown.is_right and shown.id == record.id and shown.answer
        assert shown.texts and all(text.field and isinstance(text.text, str) for text in shown.texts)
        for text in shown.texts:
            for span in text.spans:
                assert 0 <= span.start < span.end <= len(text.text) and span.label
        json.dumps(asdict(shown), ensure_ascii=False, allow_nan=False)
    roles = [[span.role for text in shown.texts for span in text.spans] for shown in [shown]]
    if card.adapter in {"entities", "reading", "cloze"}:
        assert "gold" in roles[0] and "predicted" in roles[0]


def test_an_answer_on_a_page_is_wrong_where_it_is_and_unknown_without_gold(
    card: Card, adapter: Adapter, tokenizer: Tokenizer
) -> None:
    split = "test" if "test" in card.splits else card.test_splits[0]
    for part in ("dev", split):
        records, rows = encode(card, adapter, tokenizer, part)
        found = answers(card, adapter, records, rows, 512, None)
        shown = [adapter.show(*pair) for pair in zip(records.items, found, strict=True)]
        if part in card.splits and card.splits[part].labelled:
            assert {one.is_right for one in shown} in ({False}, {True, False})
            assert all(one.gold is not None for one in shown)
        else:
            assert all(one.gold is None and one.is_right is None for one in shown)


def test_labels_are_shown_with_their_names() -> None:
    adapter = load_adapter(CARDS["tnews"])
    (first, *_) = adapter.read(locate(adapter.card, "sample"), "dev").items
    label = next(one for one in adapter.card.labels if one.name == first.label)
    assert (
        adapter.show(first, Prediction(first.id, first.label)).gold == f"{label.name} ({label.description})"
    )


# ---------------------------------------------------------------------------- runs that learnt nothing


@pytest.mark.parametrize("name", LABELLED)
def test_a_run_that_learnt_nothing_says_so(name: str) -> None:
    card, adapter = CARDS[name], load_adapter(CARDS[name])
    records = adapter.read(locate(card, "sample"), "dev")
    gold = [Prediction(record.id, GOLD[card.adapter](record)) for record in records.items]
    assert adapter.degenerate(gold, adapter.score(gold, records)) is None
    same = [Prediction(record.id, gold[0].prediction) for record in records.items]
    one = Scores(card.metric, {card.metric: 99.0}, 50.0, (0.0, 0.0), len(records))
    told = adapter.degenerate(same, one)
    assert told is not None and told.startswith(f"all {len(records):,} answers are the same: ")
    poor = Scores(card.metric, {card.metric: 50.0}, 50.0, (0.0, 0.0), len(records))
    told = adapter.degenerate(gold, poor)
    assert told is not None and f"{card.metric} 50.00 is not above 50.00" in told


def test_the_sentence_names_label_and_meaning() -> None:
    adapter = load_adapter(CARDS["afqmc"])
    scores = Scores("accuracy", {"accuracy": 69.0}, 69.0, (0.0, 0.0), 2)
    same = [Prediction(0, "0"), Prediction(1, "0")]
    assert adapter.degenerate(same, scores) == f"all 2 answers are the same: {adapter.label_words('0')}"
    mixed = [Prediction(0, "0"), Prediction(1, "1")]
    told = adapter.degenerate(mixed, scores)
    assert told == "accuracy 69.00 is not above 69.00, the score of the most frequent label"


# ---------------------------------------------------------------------------- what rows lost


def test_every_split_to_train_on_counts_its_gold_answers(
    card: Card, adapter: Adapter, tokenizer: Tokenizer
) -> None:
    for split in set(card.splits) & {"train", "dev", "test"}:
        records, rows = encode(card, adapter, tokenizer, split)
        assert (rows.gold.total > 0) == card.splits[split].labelled
        assert rows.gold.lost < max(1, rows.gold.total)
        adapter.check_rows(rows, records)
