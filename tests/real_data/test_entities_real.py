"""CLUENER's official zip: every entity from characters to tokens and back, a submission of its test file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clue_runner.adapters.base import Predictions, load_adapter
from clue_runner.adapters.sections import load_run
from clue_runner.data.cards import Card, find_card, recommended_settings
from clue_runner.data.locate import open_source
from clue_runner.data.records import EntityRecord, Records
from clue_runner.submission.check import check_file
from clue_runner.tokens.batches import batch_arrays, evaluation_plan
from clue_runner.tokens.layouts.spans import chars_to_tokens, tokens_to_chars
from clue_runner.tokens.rows import Rows
from clue_runner.tokens.tokenizer import Tokenizer

pytestmark = pytest.mark.real_data

COUNTS = {"train": 23_971, "dev": 3_072}
# (vocabulary, split) -> (line, surface): a word piece begins before the entity or ends behind it, and
# so no token border stands there. Latin words without a space around them, and numbers, are such.
INSIDE_A_PIECE = {
    ("bert_chinese_21128.txt", "train"): [
        (1724, "dot"),
        (1988, "hehuntingparty"),
        (3018, "GSL"),
        (5177, "StarCraft2"),
        (6556, "ac米兰队"),
        (6909, "War3"),
        (6909, "DotA"),
        (8998, "CPL2"),
        (9719, "ac米兰"),
        (9745, "魔兽3"),
        (9923, "ac米兰"),
    ],
    ("bert_chinese_21128.txt", "dev"): [(31, "ac米兰"), (44, "ac米兰"), (372, "魔兽争霸3"), (597, "ac米兰")],
    ("clue_8021.txt", "train"): [
        (395, "nec尼美根"),
        (3584, "DOTA"),
        (4295, "DotA"),
        (4667, "dota"),
        (5762, "Dota"),
        (5762, "Imba"),
        (6556, "ac米兰队"),
        (7170, "DOTA"),
        (9658, "DOTA"),
        (9719, "ac米兰"),
        (9923, "ac米兰"),
    ],
    ("clue_8021.txt", "dev"): [(31, "ac米兰"), (44, "ac米兰"), (372, "魔兽争霸3"), (597, "ac米兰")],
}


@pytest.fixture(scope="module")
def card() -> Card:
    return find_card("cluener")


def read(real_data: Path, card: Card, split: str) -> Records[EntityRecord]:
    return load_adapter(card).read(open_source(real_data / "official" / "cluener_public.zip", card), split)


def answered(records: Records[EntityRecord], rows: Rows, card: Card, tokens: int, head: str) -> Predictions:
    """Return the predictions of a network that says what the rows hold (for test: nothing)."""
    partials: dict[int, Any] = {}
    for indices in evaluation_plan(rows, tokens=tokens, buckets=None):
        batch = batch_arrays(rows, indices, tokens=tokens, buckets=None)
        count, length = np.asarray(batch["token_ids"]).shape
        if head == "pointers":
            scores = np.full((count, len(card.labels), length, length), -1, np.float32)
            for row, spans in enumerate(np.asarray(batch["spans"])):
                for kind, first, last in spans[spans[:, 0] >= 0]:
                    scores[row, kind, first, last] = 1
            outputs: dict[str, Any] = {"span_scores": scores}
        else:
            outputs = {"tag_scores": np.eye(2 * len(card.labels) + 1, dtype=np.float32)[batch["tag"]]}
        partials.update(
            zip(batch["row"].tolist(), load_adapter(card).decode_batch(outputs, batch), strict=True)
        )
    return load_adapter(card).merge(partials, rows, records)


@pytest.mark.parametrize(("vocabulary", "split"), INSIDE_A_PIECE)
def test_every_entity_comes_back_or_is_listed(
    real_data: Path, card: Card, vocabulary: str, split: str
) -> None:
    records = read(real_data, card, split)
    tokenizer = Tokenizer(real_data / "vocab" / vocabulary, lowercase=True)
    lost, count = [], 0
    for record, encoded in zip(
        records.items, tokenizer.encode_texts([one.text for one in records.items]), strict=True
    ):
        for entity in record.entities or ():
            count += 1
            place = chars_to_tokens(encoded, entity.start, entity.end)
            if place is None:
                lost.append((record.line, entity.surface))
                borders = {*encoded.starts.tolist()}, {*(encoded.ends - 1).tolist()}
                assert entity.start not in borders[0] or entity.end not in borders[1]
            else:
                assert tokens_to_chars(encoded, *place) == (entity.start, entity.end)
    assert count == COUNTS[split]
    assert lost == INSIDE_A_PIECE[vocabulary, split]


@pytest.mark.parametrize("head", ["pointers", "tags"])
def test_a_perfect_network_misses_only_what_tokens_cannot_express(
    real_data: Path, card: Card, head: str
) -> None:
    records = read(real_data, card, "dev")
    tokenizer = Tokenizer(real_data / "vocab" / "bert_chinese_21128.txt", lowercase=True)
    run = load_run(task="cluener", card_settings=recommended_settings(card), model="test")
    rows = load_adapter(card, run).encode(records, tokenizer)
    assert rows.notes == {"entities that do not end at token boundaries": 4}
    scores = load_adapter(card).score(answered(records, rows, card, 8192, head), records)
    assert scores.values["strict_precision"] == 100.0
    assert scores.values["strict_recall"] == pytest.approx(100 * 3068 / 3072)
    assert scores.examples == 1343


@pytest.mark.parametrize("tokens", [997, 8192])
def test_submission_of_the_official_test_file(real_data: Path, card: Card, tokens: int) -> None:
    records = read(real_data, card, "test")
    tokenizer = Tokenizer(real_data / "vocab" / "clue_8021.txt", lowercase=True)
    run = load_run(task="cluener", card_settings=recommended_settings(card), model="test")
    rows = load_adapter(card, run).encode(records, tokenizer)
    raw = load_adapter(card).submit(answered(records, rows, card, tokens, "tags"), card.submissions[0])
    assert raw.count(b"\n") == len(records) == 1345
    assert check_file(card, card.submissions[0], raw, records) == []
    short = raw[: raw.rindex(b"\n", 0, -1) + 1]
    assert "1,344 lines instead of 1,345" in check_file(card, card.submissions[0], short, records)[0].what
