from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from clue_runner.adapters.base import Prediction, load_adapter
from clue_runner.adapters.sections import load_run
from clue_runner.config.schema import Run
from clue_runner.config.shipped import shipped_folder
from clue_runner.data.cards import Card, find_card
from clue_runner.data.locate import open_source
from clue_runner.data.readers.cloze import TAG
from clue_runner.data.records import ClozeRecord, Records
from clue_runner.errors import DataError, UsageError
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


def merged(card: Card, partials: Any, records: Any, *settings: str) -> Any:
    """Return what the adapter makes of partial results; it does not look at the rows."""
    run = run_of(64, *settings) if settings else None
    return load_adapter(card, run).merge(partials, cast(Any, None), records)


def record(name: int, passages: tuple[str, ...], answers: tuple[int, ...] | None = None) -> ClozeRecord:
    tags = tuple(tag for passage in passages for tag in TAG.findall(passage))
    return ClozeRecord(name, passages, tags, IDIOMS, answers, name + 1)


def records_of(*items: ClozeRecord) -> Records[ClozeRecord]:
    return Records("dev", list(items), "dev.json", "", len(items))


def texts(rows: Any, tokenizer: Tokenizer) -> list[str]:
    ids = rows.tokens["token_ids"]
    borders = zip(rows.offsets, rows.offsets[1:], strict=False)
    return ["".join(tokenizer.pieces(ids[start:end])) for start, end in borders]


TWO = record(0, ("他#idiom000001#地等，又#idiom000002#了。", "这叫#idiom000003#。"), (0, 2, 1))


def test_layout_of_the_rows(card: Card, tokenizer: Tokenizer) -> None:
    rows = load_adapter(card, run_of()).encode(records_of(TWO), tokenizer)
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
    rows = load_adapter(card, run_of()).encode(records_of(record(0, ("一#idiom000001#二",))), tokenizer)
    assert rows.columns["label"].tolist() == [-1] * 3


@pytest.mark.parametrize(
    ("left", "right", "kept"),
    [(40, 40, (6, 5)), (40, 2, (9, 2)), (3, 40, (3, 8)), (5, 6, (5, 6)), (0, 40, (0, 11))],
)
def test_the_window_is_centred_on_the_blank(
    card: Card, tokenizer: Tokenizer, left: int, right: int, kept: tuple[int, int]
) -> None:
    passage = "前" * left + "#idiom000001#" + "后" * right
    rows = load_adapter(card, run_of(19)).encode(records_of(record(0, (passage,))), tokenizer)
    (text, *_) = texts(rows, tokenizer)
    context = text.split("[SEP]")[1]
    assert tuple(len(side) for side in context.split("[unused1]")) == kept
    assert len(set(texts(rows, tokenizer))) == 3 and rows.lengths.max() <= 19
    assert bool(rows.notes) == (left + right > 11)


def test_no_room_for_a_text_is_said(card: Card, tokenizer: Tokenizer) -> None:
    with pytest.raises(UsageError, match="9 or more"):
        load_adapter(card, run_of(8)).encode(records_of(TWO), tokenizer)


def test_a_vocabulary_without_the_mark_is_said(card: Card, tmp_path: Path) -> None:
    lines = [line for line in VOCABULARY.read_text(encoding="utf-8").split("\n") if "[unused" not in line]
    (tmp_path / "vocab.txt").write_text("\n".join(lines), encoding="utf-8")
    bare = Tokenizer(tmp_path / "vocab.txt", lowercase=True)
    rows = load_adapter(card, run_of()).encode(records_of(TWO), bare)
    assert texts(rows, bare)[8] == "[CLS]一举两得[SEP]这叫[MASK]。[SEP]"
    assert rows.notes == {"blanks marked by [MASK], the vocabulary has no [unused1]": 3}


def partials(scores: Any) -> dict[int, Any]:
    return {row: float(value) for row, value in enumerate(np.ravel(scores))}


HAND = [[5.0, 4.0, 0.0], [6.0, 1.0, 0.0]]


@pytest.mark.parametrize(
    ("decoding", "chosen"), [("assignment", [1, 0]), ("greedy", [1, 0]), ("independent", [0, 0])]
)
def test_the_whole_record_is_decoded_together(card: Card, decoding: str, chosen: list[int]) -> None:
    # two blanks in two passages: passages of a record share the candidates
    item = record(4, ("#idiom000001#", "#idiom000002#"))
    (one,) = merged(card, partials(HAND), records_of(item), f"model.choice_decoding={decoding}")
    assert one.id == 4 and one.prediction == {"#idiom000001#": chosen[0], "#idiom000002#": chosen[1]}
    assert one.probabilities is not None
    assert one.probability == pytest.approx(np.mean(one.probabilities[[0, 1], chosen]))


def test_far_scores_still_leave_an_assignment(card: Card) -> None:
    scores = [[2000.0, 0.0, -2000.0], [2000.0, -2000.0, 0.0]]
    item = record(0, ("#idiom000001##idiom000002#",))
    (one,) = merged(card, partials(scores), records_of(item))
    assert len(set(one.prediction.values())) == 2


def test_batches_never_change_what_is_decoded(card: Card, tokenizer: Tokenizer) -> None:
    items = [
        record(
            number, tuple(f"话{number}#idiom{number:03}{blank:03}#完" + "长" * blank for blank in range(3))
        )
        for number in range(12)
    ]
    records = records_of(*items)
    rows = load_adapter(card, run_of()).encode(records, tokenizer)
    found = []
    for tokens, buckets in ((1, None), (60, None), (150, (24, 64)), (10**6, None)):
        given: dict[int, Any] = {}
        for indices in evaluation_plan(rows, tokens=tokens, buckets=buckets):
            batch = batch_arrays(rows, indices, tokens=tokens, buckets=buckets)
            scores = np.array([np.random.default_rng(row + 1).normal() for row in batch["row"].tolist()])
            decoded = load_adapter(card).decode_batch({"logits": scores}, batch)
            given |= dict(zip(batch["row"].tolist(), decoded, strict=True))
        found.append([one.prediction for one in merged(card, given, records)])
    assert all(one == found[0] for one in found)
    assert all(len(set(answers.values())) == 3 for answers in found[0])


def test_an_ensemble_decodes_as_its_settings_say(card: Card) -> None:
    records = records_of(record(0, ("#idiom000001##idiom000002#",)))
    member = merged(card, partials(HAND), records)
    alone = load_adapter(card, run_of(64, "model.choice_decoding=independent"))
    assert list(alone.ensemble([member], records)[0].prediction.values()) == [0, 0]


def test_ensemble_decodes_the_mean(card: Card) -> None:
    records = records_of(record(0, ("#idiom000001##idiom000002#",)))
    first = merged(card, partials([[9.0, 0, 0], [8.0, 0, 0]]), records)
    second = merged(card, partials([[0, 9.0, 0], [9.0, 0, 0]]), records)
    (joint,) = load_adapter(card).ensemble([first, second], records)
    assert joint.prediction == {"#idiom000001#": 1, "#idiom000002#": 0}


def test_score_is_per_blank(card: Card) -> None:
    item = record(0, ("#idiom000001##idiom000002#", "#idiom000003#"), (0, 1, 2))
    one = Prediction(0, {"#idiom000001#": 0, "#idiom000002#": "1", "#idiom000003#": 0})
    found = load_adapter(card).score([one], records_of(item))
    assert found.score == pytest.approx(200 / 3) and found.chance == pytest.approx(100 / 3)
    with pytest.raises(DataError, match="not an index of a choice"):
        load_adapter(card).score([Prediction(0, {"#idiom000001#": 3})], records_of(item))


def test_submission_is_one_object_in_file_order(card: Card) -> None:
    found = [Prediction(0, {"#idiom000009#": 2, "#idiom000001#": 0}), Prediction(1, {"#idiom000004#": 1})]
    raw = load_adapter(card).submit(found, card.submissions[0])
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
    dev, test = load_adapter(few).read(source, "dev"), load_adapter(few).read(source, "test")
    rows = load_adapter(few, run_of()).encode(dev, tokenizer)
    assert rows.largest_group == 7 and np.flatnonzero(rows.columns["label"] == 1).tolist() == [2, 7, 15]
    scores = np.where(rows.columns["label"] == 1, 3.0, 0.0)
    found = merged(few, partials(scores), test)
    assert [one.prediction for one in found] == [{"#idiom#": 2}, {"#idiom#": 0}, {"#idiom#": 1}]
    assert load_adapter(few).score(found, dev).score == 100.0
    assert load_adapter(few).score([Prediction(one.id, 1) for one in found], dev).score == pytest.approx(
        100 / 3
    )
    raw = load_adapter(few).submit(found, few.submissions[0])
    assert raw == b'{"id":3002,"answer":2}\n{"id":3000,"answer":0}\n{"id":3001,"answer":1}\n'
    assert check_file(few, few.submissions[0], raw, test) == []
    (problem,) = check_file(few, few.submissions[0], raw.replace(b'"answer":2', b'"answer":7'), test)
    assert problem.what == "the index is not a choice" and problem.allowed == "0 to 6"


def test_several_blanks_do_not_fit_lines(card: Card) -> None:
    lines = cast(Any, card.submissions[0]).model_copy(update={"shape": "lines"})
    with pytest.raises(DataError, match="the record has 2 blanks"):
        load_adapter(card).submit([Prediction(0, {"#a#": 1, "#b#": 0})], lines)
