"""All questions of C3 and the ChID records of the official zips: encoded, decoded, handed in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clue_runner.adapters.base import Adapter, load_adapter
from clue_runner.adapters.sections import load_run
from clue_runner.config.shipped import shipped_folder
from clue_runner.data.cards import Card, find_card, recommended_settings
from clue_runner.data.locate import open_source
from clue_runner.submission.check import check_file, count_warning
from clue_runner.tokens.batches import batch_arrays, evaluation_plan
from clue_runner.tokens.rows import Rows
from clue_runner.tokens.tokenizer import Tokenizer

pytestmark = pytest.mark.real_data


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer(Path(shipped_folder("configs")) / "models" / "vocab" / "zh.txt", lowercase=True)


def encoded(card: Card, folder: Path, split: str, tokenizer: Tokenizer) -> tuple[Adapter, Any, Rows]:
    run = load_run(
        task=card.name,
        card_settings=recommended_settings(card),
        model="test",
        configs=[],
        overrides=[],
        flags={},
    )
    source = open_source(folder / "official" / f"{card.name}_public.zip", card)
    adapter = load_adapter(card, run)
    records = adapter.read(source, split)
    return adapter, records, adapter.encode(records, tokenizer)


def scored(adapter: Adapter, rows: Rows, tokens: int) -> dict[int, Any]:
    """Made-up scores that depend on the row alone, through batches of some size."""
    values = np.random.default_rng(7).normal(size=len(rows)).astype(np.float32)
    found: dict[int, Any] = {}
    for indices in evaluation_plan(rows, tokens=tokens, buckets=None):
        batch = batch_arrays(rows, indices, tokens=tokens, buckets=None)
        decoded = adapter.decode_batch({"logits": values[batch["row"]]}, batch)
        found |= dict(zip(batch["row"].tolist(), decoded, strict=True))
    return found


@pytest.mark.parametrize(
    ("split", "questions", "largest", "submission"), [("test1.1", 1625, 10, 0), ("test1.0", 3892, 4, 1)]
)
def test_c3_file_is_accepted_in_file_order_for_any_batch(
    real_data: Path, tokenizer: Tokenizer, split: str, questions: int, largest: int, submission: int
) -> None:
    card = find_card("c3")
    adapter, records, rows = encoded(card, real_data, split, tokenizer)
    assert rows.largest_group == largest and rows.lengths.max() == 512
    assert len(rows) == sum(len(record.choices) for record in records.items)
    one = adapter.merge(scored(adapter, rows, 8192), rows, records)
    other = adapter.merge(scored(adapter, rows, 100_000), rows, records)
    raw = adapter.submit(one, card.submissions[submission])
    assert raw == adapter.submit(other, card.submissions[submission])
    assert raw.count(b"\n") == questions
    assert check_file(card, card.submissions[submission], raw, records) == []
    ends = rows.offsets[1:] - 1
    assert (rows.tokens["token_ids"][ends] == tokenizer.sep_id).all()


def test_c3_choices_are_never_cut(real_data: Path, tokenizer: Tokenizer) -> None:
    card = find_card("c3")
    _, records, rows = encoded(card, real_data, "dev", tokenizer)
    texts = [text for record in records.items for text in record.choices]
    kept = [len(one) for one in tokenizer.encode_texts(texts)]
    for row, length in enumerate(kept):
        tokens = rows.tokens["token_ids"][rows.offsets[row] : rows.offsets[row + 1]]
        assert tokens[-length - 2] == tokenizer.sep_id  # [SEP] choice [SEP]
    assert sum(rows.notes.values()) > 0  # long texts are


@pytest.mark.parametrize("split", ["train", "dev", "test1.1"])
def test_chid_answers_every_blank(real_data: Path, tokenizer: Tokenizer, split: str) -> None:
    card = find_card("chid")
    adapter, records, rows = encoded(card, real_data, split, tokenizer)
    blanks = sum(len(record.tags) for record in records.items)
    assert len(rows) == 10 * blanks and rows.largest_group == 10 and rows.lengths.max() <= 64
    found = adapter.merge(scored(adapter, rows, 2000), rows, records)
    assert [one.prediction for one in found] == [
        one.prediction for one in adapter.merge(scored(adapter, rows, 1), rows, records)
    ]
    for one, record in zip(found, records.items, strict=True):
        assert list(one.prediction) == list(record.tags)
        assert len(set(one.prediction.values())) == len(record.tags)
    if split == "test1.1":
        submission = card.submissions[0]
        raw = adapter.submit(found, submission)
        assert list(json.loads(raw)) == [tag for record in records.items for tag in record.tags]
        assert check_file(card, submission, raw, records) == []
        warning = count_warning(card, submission, records)
        assert warning is not None and "1 records where the official file has 3,447" in warning
    else:
        assert int((rows.columns["label"] == 1).sum()) == blanks
