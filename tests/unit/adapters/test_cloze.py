from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from clue_runner.adapters import cloze
from clue_runner.adapters.base import Prediction
from clue_runner.config.loader import load_run
from clue_runner.config.schema import Run
from clue_runner.config.shipped import shipped_folder
from clue_runner.data.cards import Card, find_card
from clue_runner.data.locate import open_source
from clue_runner.data.records import ClozeRecord, Records
from clue_runner.errors import DataError, UsageError
from clue_runner.metrics.assignment import DECODINGS
from clue_runner.submission.check import check_file
from clue_runner.tokens.batches import batch_arrays, evaluation_plan
from clue_runner.tokens.tokenizer import Tokenizer

VOCABULARY = Path(shipped_folder("configs")) / "models" / "vocab" / "zh.txt"
IDIOMS = ("守株待兔", "目瞪口呆", "一举两得")


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer(VOCABULARY, lowercase=True)


@pytest.fixture(scope="module")
def card() -> Card:
    return find_card("chid")


def run_of(max_length: int = 64, *settings: str) -> Run:
    overrides = [f"data.max_length={max_length}", *settings]
    return load_run(task="chid", card_settings={}, model="test", configs=[], overrides=overrides, flags={})


def record(name: int, passages: tuple[str, ...], answers: tuple[int, ...] | None = None) -> ClozeRecord:
    tags = tuple(tag for passage in passages for tag in cloze.TAG.findall(passage))
    return ClozeRecord(name, passages, tags, IDIOMS, answers, name + 1)


def records_of(*items: ClozeRecord) -> Records[ClozeRecord]:
    return Records("dev", list(items), "dev.json", "", len(items))


def texts(rows: Any, tokenizer: Tokenizer) -> list[str]:
    ids = rows.tokens["token_ids"]
    borders = zip(rows.offsets, rows.offsets[1:], strict=False)
    return ["".join(tokenizer.pieces(ids[start:end])) for start, end in borders]


TWO = record(0, ("他#idiom000001#地等，又#idiom000002#了。", "这叫#idiom000003#。"), (0, 2, 1))


def test_layout_of_the_rows(card: Card, tokenizer: Tokenizer) -> None:
    rows = cloze.encode(records_of(TWO), card, tokenizer, run_of())
    found = texts(rows, tokenizer)
    assert len(found) == 9
    assert found[0] == "[CLS]守株待兔[SEP]他[unused1]地等，又[MASK][MASK][MASK][MASK]了。[SEP]"
    assert found[4] == "[CLS]目瞪口呆[SEP]他[MASK][MASK][MASK][MASK]地等，又[unused1]了。[SEP]"
    assert found[8] == "[CLS]一举两得[SEP]这叫[unused1]。[SEP]"
    assert rows.tokens["segment_ids"][:8].tolist() == [0] * 6 + [1] * 2
    assert rows.group.tolist() == [0] * 3 + [1] * 3 + [2] * 3 and rows.record.tolist() == [0] * 9
    assert rows.columns["choice"].tolist() == [0, 1, 2] * 3
    assert rows.columns["label"].tolist() == [1, 0, 0, 0, 0, 1, 0, 1, 0]
    assert rows.notes == {}


def test_records_without_answers(card: Card, tokenizer: Tokenizer) -> None:
    rows = cloze.encode(records_of(record(0, ("一#idiom000001#二",))), card, tokenizer, run_of())
    assert rows.columns["label"].tolist() == [-1] * 3


@pytest.mark.parametrize(
    ("left", "right", "kept"),
    [(40, 40, (6, 5)), (40, 2, (9, 2)), (3, 40, (3, 8)), (5, 6, (5, 6)), (0, 40, (0, 11))],
)
def test_the_window_is_centred_on_the_blank(
    card: Card, tokenizer: Tokenizer, left: int, right: int, kept: tuple[int, int]
) -> None:
    passage = "前" * left + "#idiom000001#" + "后" * right
    rows = cloze.encode(records_of(record(0, (passage,))), card, tokenizer, run_of(19))
    (text, *_) = texts(rows, tokenizer)
    context = text.split("[SEP]")[1]
    assert tuple(len(side) for side in context.split("[unused1]")) == kept
    assert len(set(texts(rows, tokenizer))) == 3 and rows.lengths.max() <= 19
    assert bool(rows.notes) == (left + right > 11)


def test_no_room_for_a_text_is_said(card: Card, tokenizer: Tokenizer) -> None:
    with pytest.raises(UsageError, match="9 or more"):
        cloze.encode(records_of(TWO), card, tokenizer, run_of(8))


def test_a_vocabulary_without_the_mark_is_said(card: Card, tmp_path: Path) -> None:
    lines = [line for line in VOCABULARY.read_text(encoding="utf-8").split("\n") if "[unused" not in line]
    (tmp_path / "vocab.txt").write_text("\n".join(lines), encoding="utf-8")
    bare = Tokenizer(tmp_path / "vocab.txt", lowercase=True)
    rows = cloze.encode(records_of(TWO), card, bare, run_of())
    assert texts(rows, bare)[8] == "[CLS]一举两得[SEP]这叫[MASK]。[SEP]"
    assert rows.notes == {"blanks marked by [MASK], the vocabulary has no [unused1]": 3}


def partials(scores: Any, decoding: str = "assignment") -> dict[int, Any]:
    way = DECODINGS.index(decoding)  # type: ignore[arg-type]
    return {row: (float(value), way) for row, value in enumerate(np.ravel(scores))}


HAND = [[5.0, 4.0, 0.0], [6.0, 1.0, 0.0]]


@pytest.mark.parametrize(
    ("decoding", "chosen"), [("assignment", [1, 0]), ("greedy", [1, 0]), ("independent", [0, 0])]
)
def test_the_whole_record_is_decoded_together(card: Card, decoding: str, chosen: list[int]) -> None:
    # two blanks in two passages: passages of a record share the candidates
    item = record(4, ("#idiom000001#", "#idiom000002#"))
    (one,) = cloze.merge(partials(HAND, decoding), records_of(item), card)
    assert one.id == 4 and one.prediction == {"#idiom000001#": chosen[0], "#idiom000002#": chosen[1]}
    assert one.decoding == decoding and one.probabilities is not None
    assert one.probability == pytest.approx(np.mean(one.probabilities[[0, 1], chosen]))


def test_far_scores_still_leave_an_assignment(card: Card) -> None:
    scores = [[2000.0, 0.0, -2000.0], [2000.0, -2000.0, 0.0]]
    item = record(0, ("#idiom000001##idiom000002#",))
    (one,) = cloze.merge(partials(scores), records_of(item), card)
    assert len(set(one.prediction.values())) == 2


def test_batches_never_change_what_is_decoded(card: Card, tokenizer: Tokenizer) -> None:
    items = [
        record(
            number, tuple(f"话{number}#idiom{number:03}{blank:03}#完" + "长" * blank for blank in range(3))
        )
        for number in range(12)
    ]
    records = records_of(*items)
    rows = cloze.encode(records, card, tokenizer, run_of())
    found = []
    for tokens, buckets in ((1, None), (60, None), (150, (24, 64)), (10**6, None)):
        given: dict[int, Any] = {}
        for indices in evaluation_plan(rows, tokens=tokens, buckets=buckets):
            batch = batch_arrays(rows, indices, tokens=tokens, buckets=buckets)
            scores = np.array([np.random.default_rng(row + 1).normal() for row in batch["row"].tolist()])
            decoded = cloze.decode_batch({"logits": scores}, batch)
            given |= dict(zip(batch["row"].tolist(), decoded, strict=True))
        found.append([one.prediction for one in cloze.merge(given, records, card)])
    assert all(one == found[0] for one in found)
    assert all(len(set(answers.values())) == 3 for answers in found[0])


def test_the_setting_reaches_the_decoding(card: Card, tokenizer: Tokenizer) -> None:
    item = record(0, ("#idiom000001##idiom000002#",))
    rows = cloze.encode(records_of(item), card, tokenizer, run_of(64, "model.choice_decoding=independent"))
    batch = batch_arrays(rows, np.arange(6), tokens=10**6, buckets=None)
    given = dict(enumerate(cloze.decode_batch({"logits": np.ravel(HAND)}, batch)))
    (one,) = cloze.merge(given, records_of(item), card)
    assert list(one.prediction.values()) == [0, 0]


def test_ensemble_decodes_the_mean(card: Card) -> None:
    records = records_of(record(0, ("#idiom000001##idiom000002#",)))
    first = cloze.merge(partials([[9.0, 0, 0], [8.0, 0, 0]]), records, card)
    second = cloze.merge(partials([[0, 9.0, 0], [9.0, 0, 0]]), records, card)
    (joint,) = cloze.ensemble([first, second], records, card)
    assert joint.prediction == {"#idiom000001#": 1, "#idiom000002#": 0}


def test_score_is_per_blank(card: Card) -> None:
    item = record(0, ("#idiom000001##idiom000002#", "#idiom000003#"), (0, 1, 2))
    one = Prediction(0, {"#idiom000001#": 0, "#idiom000002#": "1", "#idiom000003#": 0})
    found = cloze.score([one], records_of(item), card)
    assert found.score == pytest.approx(200 / 3) and found.chance == pytest.approx(100 / 3)
    with pytest.raises(DataError, match="no index of a choice"):
        cloze.score([Prediction(0, {"#idiom000001#": 3})], records_of(item), card)


def test_submission_is_one_object_in_file_order(card: Card) -> None:
    found = [Prediction(0, {"#idiom000009#": 2, "#idiom000001#": 0}), Prediction(1, {"#idiom000004#": 1})]
    raw = cloze.submit(found, card, card.submissions[0])
    assert raw == b'{\n"#idiom000009#": 2,\n"#idiom000001#": 0,\n"#idiom000004#": 1\n}\n'


FEWCLUE = """
name: chid-few
title: {zh: 成语, en: FewCLUE ChID}
version: "1"
adapter: cloze
layout: chid
metric: accuracy
id_field: id
splits:
  train: {file: train.json}
  dev: {file: dev.json, records: [3]}
  test: {file: test.json, records: [3], labelled: false}
submissions:
  - split: test
    file: chidf_predict.json
    label_type: int
    answer_key: answer
    benchmarks: [fewclue]
    source: FewCLUE README
max_length: 64
licence: none
paper: none
"""


def test_fewclue_layout_through_a_card(tmp_path: Path, tokenizer: Tokenizer) -> None:
    (tmp_path / "task.yaml").write_text(FEWCLUE, encoding="utf-8")
    few = find_card(str(tmp_path))
    candidates = ["守株待兔", "目瞪口呆", "一举两得", "车水马龙", "鸦雀无声", "全力以赴", "对牛弹琴"]
    for file, labelled in (("dev.json", True), ("test.json", False)):
        lines = [
            {"id": 3000 + number, "candidates": candidates, "content": f"他{number}#idiom#了"}
            | ({"answer": number} if labelled else {})
            for number in (2, 0, 1)
        ]
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        (tmp_path / file).write_text(text, encoding="utf-8")
    source = open_source(tmp_path, few)
    dev, test = cloze.read(few, source, "dev"), cloze.read(few, source, "test")
    rows = cloze.encode(dev, few, tokenizer, run_of())
    assert rows.largest_group == 7 and np.flatnonzero(rows.columns["label"] == 1).tolist() == [2, 7, 15]
    scores = np.where(rows.columns["label"] == 1, 3.0, 0.0)
    found = cloze.merge(partials(scores), test, few)
    assert [one.prediction for one in found] == [{"#idiom#": 2}, {"#idiom#": 0}, {"#idiom#": 1}]
    assert cloze.score(found, dev, few).score == 100.0
    assert cloze.score([Prediction(one.id, 1) for one in found], dev, few).score == pytest.approx(100 / 3)
    raw = cloze.submit(found, few, few.submissions[0])
    assert raw == b'{"id":3002,"answer":2}\n{"id":3000,"answer":0}\n{"id":3001,"answer":1}\n'
    assert check_file(few, few.submissions[0], raw, test) == []
    (problem,) = check_file(few, few.submissions[0], raw.replace(b'"answer":2', b'"answer":7'), test)
    assert problem.what == "the index names no choice" and problem.allowed == "0 to 6"


def test_several_blanks_do_not_fit_lines(card: Card) -> None:
    lines = cast(Any, card.submissions[0]).model_copy(update={"shape": "lines"})
    with pytest.raises(DataError, match="the record has 2 blanks"):
        cloze.submit([Prediction(0, {"#a#": 1, "#b#": 0})], card, lines)
