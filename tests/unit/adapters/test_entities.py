from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clue_runner.adapters.base import Prediction, load_adapter
from clue_runner.adapters.entities import Entities, Settings
from clue_runner.adapters.sections import load_run
from clue_runner.config.schema import Run
from clue_runner.config.shipped import shipped_folder
from clue_runner.data.cards import Card, find_card
from clue_runner.data.records import Entity, EntityRecord, Records
from clue_runner.errors import DataError
from clue_runner.submission.check import check_file
from clue_runner.tokens.batches import batch_arrays
from clue_runner.tokens.layouts.span_windows import FILLER
from clue_runner.tokens.layouts.tags import tag_count
from clue_runner.tokens.rows import Rows
from clue_runner.tokens.tokenizer import Tokenizer

# U+20BB7 is in no vocabulary; Latin letters and digits are joined to words, and lower-cased.
TEXT = "APPLE在\U00020bb7野家卖iPhone7手机2010年"


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer(shipped_folder("configs") / "models" / "vocab" / "zh.txt", lowercase=True)


@pytest.fixture(scope="module")
def card() -> Card:
    return find_card("cluener")


def run_with(*overrides: str) -> Run:
    return load_run(task="cluener", card_settings={}, model="test", configs=[], overrides=overrides, flags={})


def records_of(*rows: tuple[str, list[tuple[str, str]]], split: str = "dev") -> Records[EntityRecord]:
    """Return records whose entities are (type, surface), each where its surface stands first."""
    items = [
        EntityRecord(
            index,
            text,
            tuple(
                Entity(kind, text.index(one), text.index(one) + len(one) - 1, one) for kind, one in mentions
            ),
            index + 1,
        )
        for index, (text, mentions) in enumerate(rows)
    ]
    return Records(split, items, f"{split}.json", "", len(items))


def pointed(rows: Rows, length: int, types: int) -> np.ndarray[Any, Any]:
    """Return scores above 0 on the rows' own spans."""
    scores = np.full((len(rows), types, length, length), -1, np.float32)
    for row, spans in enumerate(np.asarray(rows.columns["spans"])):
        for kind, first, last in spans:
            if kind >= 0:
                scores[row, kind, first, last] = 1
    return scores


def tagged(batch: Any, types: int) -> np.ndarray[Any, Any]:
    """Return scores that are highest on the batch's own tags."""
    return np.asarray(np.eye(tag_count(types), dtype=np.float32)[np.asarray(batch["tag"])])


def found_in(
    records: Records[EntityRecord], card: Card, tokenizer: Tokenizer, head: str, max_length: int = 128
) -> list[Any]:
    """Return what comes back when the network says exactly what the rows hold."""
    rows = load_adapter(card, run_with(f"data.max_length={max_length}")).encode(records, tokenizer)
    batch = batch_arrays(rows, np.arange(len(rows)), tokens=100_000, buckets=None)
    types = len(card.labels)
    if head == "pointers":
        outputs = {"span_scores": pointed(rows, int(rows.lengths.max()), types)}
    else:
        outputs = {"tag_scores": tagged(batch, types)}
    partials = dict(enumerate(load_adapter(card).decode_batch(outputs, batch)))
    return [one.prediction for one in load_adapter(card).merge(partials, rows, records)]


@pytest.mark.parametrize("head", ["pointers", "tags"])
def test_characters_come_back_exactly(card: Card, tokenizer: Tokenizer, head: str) -> None:
    records = records_of(
        (TEXT, [("company", "APPLE"), ("scene", "\U00020bb7野家"), ("game", "iPhone7"), ("book", "2010")]),
        ("张三李四", [("name", "张三"), ("name", "李四")]),
        ("无", []),
    )
    first, second, third = found_in(records, card, tokenizer, head)
    assert first == {
        "book": {"2010": [[19, 22]]},
        "company": {"APPLE": [[0, 4]]},
        "game": {"iPhone7": [[10, 16]]},
        "scene": {"\U00020bb7野家": [[6, 8]]},
    }
    assert second == {"name": {"张三": [[0, 1]], "李四": [[2, 3]]}}
    assert third == {}


def test_pointers_keep_overlapping_and_nested_entities_and_tags_the_longest(
    card: Card, tokenizer: Tokenizer
) -> None:
    records = records_of(
        ("北京大学东门外", [("address", "北京"), ("organization", "北京大学"), ("scene", "大学东门")])
    )
    (kept,) = found_in(records, card, tokenizer, "pointers")
    assert kept == {
        "address": {"北京": [[0, 1]]},
        "organization": {"北京大学": [[0, 3]]},
        "scene": {"大学东门": [[2, 5]]},
    }
    assert found_in(records, card, tokenizer, "tags") == [{"organization": {"北京大学": [[0, 3]]}}]
    assert load_adapter(card, run_with()).encode(records, tokenizer).notes == {}
    rows = load_adapter(card, run_with("model.entity_head=crf")).encode(records, tokenizer)
    assert rows.notes == {"overlapping entities that tags cannot hold": 2}
    assert (rows.gold.total, rows.gold.lost) == (3, 2)


def test_an_entity_without_token_border_stays_in_gold_and_counts_as_missed(
    card: Card, tmp_path: Path
) -> None:
    vocabulary = tmp_path / "vocab.txt"
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "玩", "iphone", "##7"]
    vocabulary.write_text("".join(piece + "\n" for piece in pieces), encoding="utf-8")
    tokenizer = Tokenizer(vocabulary, lowercase=True)
    records = records_of(("玩iPhone7吧", [("game", "iPho"), ("name", "玩")]))
    rows = load_adapter(card, run_with()).encode(records, tokenizer)
    assert rows.notes == {"entities that do not end at token boundaries": 1}
    assert len(records.items[0].entities or ()) == 2
    predictions = [Prediction(0, found_in(records, card, tokenizer, "pointers")[0])]
    scores = load_adapter(card).score(predictions, records)
    assert scores.values["strict_recall"] == 50.0 and scores.values["strict_precision"] == 100.0


@pytest.mark.parametrize("head", ["pointers", "tags"])
def test_a_long_text_is_read_in_windows_and_its_entities_found_once(
    card: Card, tokenizer: Tokenizer, head: str
) -> None:
    names = [chr(0x4E00 + 7 * index) + chr(0x5000 + 3 * index) for index in range(30)]
    text = "在".join(names)
    records = records_of((text, [("name", name) for name in names]), ("短", [("name", "短")]))
    rows = load_adapter(card, run_with("data.max_length=22")).encode(records, tokenizer)
    assert rows.lengths.max() == 22 and len(rows) > 5
    assert rows.record.tolist() == [0] * (len(rows) - 1) + [1]
    assert rows.notes == {"texts cut into windows of 22 tokens": 1}
    owned = np.asarray(rows.columns["owned"])[:-1]
    assert owned[0, 0] == 0 and owned[-1, 1] == len(text)
    assert (owned[1:, 0] == owned[:-1, 1]).all()  # every character belongs to exactly one window
    long, short = found_in(records, card, tokenizer, head, max_length=22)
    assert long == {"name": {name: [[text.index(name), text.index(name) + 1]] for name in names}}
    assert short == {"name": {"短": [[0, 0]]}}


def test_an_entity_longer_than_a_window_is_counted(card: Card, tokenizer: Tokenizer) -> None:
    text = "".join(chr(0x4E00 + index) for index in range(40))
    rows = load_adapter(card, run_with("data.max_length=22")).encode(
        records_of((text, [("book", text[2:30])])), tokenizer
    )
    assert rows.notes["entities longer than a window's part of the text"] == 1
    assert (np.asarray(rows.columns["spans"])[:, :, 0] == FILLER).all()


def test_columns_of_rows(card: Card, tokenizer: Tokenizer) -> None:
    rows = load_adapter(card, run_with()).encode(
        records_of(("张三去", [("name", "张三")]), ("去", [])), tokenizer
    )
    kind = card.label_names.index("name")
    assert rows.columns["spans"].tolist() == [[[kind, 1, 2]], [[FILLER, 0, 0]]]
    assert rows.tokens["tag"].tolist() == [0, 1 + 2 * kind, 2 + 2 * kind, 0, 0, 0, 0, 0]
    assert rows.tokens["starts"].tolist() == [-1, 0, 1, 2, -1, -1, 0, -1]
    assert all(values.dtype == np.int32 for values in [*rows.tokens.values(), *rows.columns.values()])
    empty = load_adapter(card, run_with()).encode(Records("dev", [], "dev.json", "", 0), tokenizer)
    assert len(empty) == 0


def test_a_text_of_no_tokens_has_an_answer(card: Card, tokenizer: Tokenizer) -> None:
    records = records_of(("\u200b", []), ("张", []))
    assert found_in(records, card, tokenizer, "tags") == [{}, {}]


@pytest.mark.parametrize("max_length", [12, 128])
def test_an_untrained_head_gives_a_bounded_number_of_entities(
    card: Card, tokenizer: Tokenizer, max_length: int
) -> None:
    text = "".join(chr(0x4E00 + index) for index in range(40))
    records = records_of((text, []), ("张三", []))
    run = run_with(f"data.max_length={max_length}")
    adapter = load_adapter(card, run.model_copy(update={"task": Settings(max_spans=7)}))
    rows = adapter.encode(records, tokenizer)
    batch = batch_arrays(rows, np.arange(len(rows)), tokens=100_000, buckets=None)
    length = batch["token_ids"].shape[1]
    scores = np.random.default_rng(3).random((len(rows), len(card.labels), length, length), np.float32)
    inside = np.arange(length)[None, :] < batch["lengths"][:, None] - 1
    inside[:, 0] = False
    allowed = np.triu(inside[:, :, None] & inside[:, None, :])
    scores = np.where(allowed[:, None], scores + 0.5, -1)
    partials = dict(enumerate(adapter.decode_batch({"span_scores": scores}, batch)))
    found = adapter.merge(partials, rows, records)
    counts = [
        sum(len(spans) for kinds in one.prediction.values() for spans in kinds.values()) for one in found
    ]
    assert counts == [7, 7]
    left_out = sum(one.left_out for one in found)
    if max_length == 128:  # every span of both texts, but for seven each
        assert left_out == len(card.labels) * (40 * 41 // 2 + 3) - 14
        best = np.sort(scores[0].reshape(-1))[-7:]
        assert sorted(partials[0].scores.tolist()) == best.tolist()
    note = "entities left out beside the 7 best of a text (task.max_spans)"
    assert adapter.answer_notes(found) == {note: left_out} and left_out > 0
    assert adapter.answer_notes(found_in_full(records, card)) == {}


def found_in_full(records: Records[EntityRecord], card: Card) -> list[Prediction]:
    return [Prediction(record.id, {}) for record in records.items]


def test_merge_refuses_records_without_a_row(card: Card, tokenizer: Tokenizer) -> None:
    records = records_of(("张", []), ("李", []))
    rows = load_adapter(card, run_with()).encode(records, tokenizer)
    for partials in ({0: [], -1: []}, {0: [], 1: [], 2: []}):
        with pytest.raises(RuntimeError, match="of 2 rows have no prediction"):
            load_adapter(card).merge(partials, rows, records)


def test_an_ensemble_keeps_what_more_than_half_found(card: Card) -> None:
    records = records_of(("张三李四", []))
    first = {"name": {"张三": [[0, 1]], "李四": [[2, 3]]}}
    members = [
        [Prediction(0, label)] for label in (first, {"name": {"张三": [[0, 1]]}}, {"book": {"三": [[1, 1]]}})
    ]
    (joint,) = load_adapter(card).ensemble(members, records)
    assert joint.prediction == {"name": {"张三": [[0, 1]]}}
    with pytest.raises(DataError, match="run 2 of the ensemble answers records other"):
        load_adapter(card).ensemble([members[0], [Prediction(5, {})]], records)


def test_scores_have_three_names_and_chance_is_no_entity(card: Card) -> None:
    records = records_of(
        ("张三去北京", [("name", "张三"), ("address", "北京")]), ("张三", [("name", "张三")])
    )
    answers = [{"name": {"张三": [[0, 1]]}, "address": {"京": [[4, 4]]}}, {}]
    predictions = [Prediction(index, answer) for index, answer in enumerate(answers)]
    scores = load_adapter(card).score(predictions, records)
    assert scores.main == "site_macro_f1" == card.metric
    # name: 1 of 1 found, 2 wanted; address: none of 1 right
    assert scores.score == pytest.approx((200 / 3 + 0) / 2)
    assert scores.values["strict_micro_f1"] == pytest.approx(100 * 2 / 5)
    assert {"strict_macro_f1", "site_f1/name", "strict_f1/address"} <= set(scores.values)
    nothing = load_adapter(card).score([Prediction(0, {}), Prediction(1, {})], records)
    assert nothing.score == scores.chance == 0.0


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ({"person": {"张三": [[0, 1]]}}, "entity type 'person'"),
        ({"name": {"张三": [[0, 2]]}}, r"span \[0, 2\] is '张三去'"),
        ({"name": {"张三": [[0, 9]]}}, "outside the text"),
        (["张三"], "must be an object"),
    ],
)
def test_answers_that_are_none_are_named(card: Card, answer: object, message: str) -> None:
    records = records_of(("张三去", []))
    with pytest.raises(DataError, match=message):
        load_adapter(card).score([Prediction(0, answer)], records)


def test_score_needs_labels_and_order(card: Card) -> None:
    record = EntityRecord(4, "张", None, 1)
    with pytest.raises(DataError, match="a split without answers"):
        load_adapter(card).score([Prediction(4, {})], Records("test", [record], "test.json", "", 1))
    with pytest.raises(RuntimeError, match="order"):
        load_adapter(card).score([Prediction(4, {})], records_of(("张", [])))


def test_submission_lines(card: Card) -> None:
    label = {"name": {"张三": [[0, 1]]}}
    raw = load_adapter(card).submit([Prediction(0, label), Prediction(1, {})], card.submissions[0])
    assert raw.decode() == '{"id":0,"label":{"name":{"张三":[[0,1]]}}}\n{"id":1,"label":{}}\n'


@pytest.mark.parametrize(
    ("label", "message"),
    [
        ({"goverment": {"张三": [[0, 1]]}}, "an entity type is not one of the card's"),
        ({"name": {"张三": [[0, 2]]}}, "a span does not match its surface"),
        ({"name": {"张三": [[0, "1"]]}}, "the label is not a set of entities"),
        ("name", "the label is not a set of entities"),
    ],
)
def test_the_checker_names_bad_entities_with_their_line(card: Card, label: object, message: str) -> None:
    records = records_of(("张三去", []), ("张三去", []), split="test")
    lines = [json.dumps({"id": number, "label": one}) for number, one in enumerate([{}, label])]
    raw = "".join(line + "\n" for line in lines).encode()
    problems = check_file(card, card.submissions[0], raw, records, sample=True)
    assert [(one.what, one.where) for one in problems] == [(message, "cluener_predict.json:2")]


def test_the_card_names_the_adapter(card: Card) -> None:
    assert isinstance(load_adapter(card), Entities)
