"""What every adapter promises, checked on the sample records of every card.

A new adapter adds one line to ``GOLD`` (the answer that gold gives) and to ``OUTPUTS`` (made-up network
outputs for a batch); everything else is the same for all.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clue_runner.adapters.base import Adapter, Prediction, load_adapter, own_network
from clue_runner.config.loader import load_run
from clue_runner.config.shipped import shipped_folder
from clue_runner.data.cards import Card, all_cards, recommended_settings
from clue_runner.data.kinds import all_kinds
from clue_runner.data.locate import locate
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
    "cloze": lambda record: dict(zip(record.tags, record.answers, strict=True)),
}
OUTPUTS: dict[str, Callable[[Card, Mapping[str, Array]], dict[str, Array]]] = {
    "entities": random_entities,
    "reading": random_spans,
    "dgcnn_reading": random_tags,
    "classification": random_logits,
    "choice": random_scores,
    "cloze": random_scores,
}


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer(Path(shipped_folder("configs")) / "models" / "vocab" / "zh.txt", lowercase=True)


@pytest.fixture(params=CARDS, scope="module")
def card(request: pytest.FixtureRequest) -> Card:
    return CARDS[request.param]


@pytest.fixture(scope="module")
def adapter(card: Card) -> Adapter:
    return load_adapter(card)


def encode(card: Card, adapter: Adapter, tokenizer: Tokenizer, split: str) -> tuple[Any, Rows]:
    run = load_run(
        task=card.name,
        card_settings=recommended_settings(card),
        model="test",
        configs=[],
        overrides=[f"data.max_length={MAX_LENGTH}"],
        flags={},
    )
    # diagnostics have nothing but a test split
    present = split if split in card.splits else card.test_splits[0]
    records = adapter.read(card, locate(card, "sample"), present)
    own = own_network(adapter)
    given = tokenizer if own is None else own.make_tokenizer({"train": records}, run)
    return records, adapter.encode(records, card, given, run)


def answers(card: Card, adapter: Adapter, records: Any, rows: Rows, tokens: int, buckets: Any) -> Any:
    partials: dict[int, Any] = {}
    for indices in evaluation_plan(rows, tokens=tokens, buckets=buckets):
        batch = batch_arrays(rows, indices, tokens=tokens, buckets=buckets)
        decoded = adapter.decode_batch(OUTPUTS[card.adapter](card, batch), batch)
        assert len(decoded) == len(batch["row"])
        partials.update(zip(batch["row"].tolist(), decoded, strict=True))
    return adapter.merge(partials, records, card)


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
    if own_network(adapter) is None:
        assert rows.tokens["segment_ids"].dtype == np.int32
        assert (token_ids[rows.offsets[:-1]] == tokenizer.cls_id).all()
    assert len(adapter.epoch_rows(rows, 42, 0)) > 0


@pytest.mark.parametrize("name", [name for name, card in CARDS.items() if "dev" in card.splits])
def test_gold_answers_score_100(name: str) -> None:
    card, adapter = CARDS[name], load_adapter(CARDS[name])
    records = adapter.read(card, locate(card, "sample"), "dev")
    gold = [Prediction(record.id, GOLD[card.adapter](record)) for record in records.items]
    for metric in all_kinds()[card.adapter].metrics:
        other = adapter.score(gold, records, card.model_copy(update={"metric": metric}))
        assert other.main == metric and other.score == pytest.approx(100.0)
    scores = adapter.score(gold, records, card)
    assert scores.main == card.metric and scores.score == pytest.approx(100.0)
    assert scores.examples == len(records)
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
        raw = adapter.submit(found, card, submission)
        assert raw == adapter.submit(answers(card, adapter, records, rows, 997, None), card, submission)
        assert check_file(card, submission, raw, records, sample=True) == []
        if submission.shape == "lines":
            lines = [json.loads(line) for line in raw.decode("utf-8").splitlines()]
            assert [line["id"] for line in lines] == [record.id for record in records.items]


def test_a_lost_row_is_our_bug_and_not_an_answer(card: Card, adapter: Adapter, tokenizer: Tokenizer) -> None:
    records, rows = encode(card, adapter, tokenizer, "dev")
    batch = batch_arrays(rows, np.arange(len(rows) - 1), tokens=10**6, buckets=None)
    decoded = adapter.decode_batch(OUTPUTS[card.adapter](card, batch), batch)
    with pytest.raises(RuntimeError):
        adapter.merge(dict(enumerate(decoded)), records, card)


def test_an_ensemble_of_one_run_is_that_run(card: Card, adapter: Adapter, tokenizer: Tokenizer) -> None:
    records, rows = encode(card, adapter, tokenizer, "dev")
    single = answers(card, adapter, records, rows, 512, None)
    joint = adapter.ensemble([single, single], records, card)
    assert [(one.id, one.prediction) for one in joint] == [(one.id, one.prediction) for one in single]
