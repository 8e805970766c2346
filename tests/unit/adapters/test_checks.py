"""What would train or score something else than the card says, refused with the record's place."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from clue_runner.adapters.base import Adapter, load_adapter
from clue_runner.adapters.sections import load_run
from clue_runner.config.schema import Run
from clue_runner.config.shipped import shipped_folder
from clue_runner.data.cards import find_card, recommended_settings
from clue_runner.data.locate import open_sample
from clue_runner.data.records import (
    Answer,
    ChoiceRecord,
    ClozeRecord,
    Entity,
    EntityRecord,
    Passage,
    PassagesRecord,
    ReadingRecord,
    Records,
    TextRecord,
)
from clue_runner.errors import DataError
from clue_runner.tokens.rows import GoldAnswers, Rows
from clue_runner.tokens.tokenizer import Tokenizer


def run_of(task: str, *overrides: str) -> Run:
    card = find_card(task)
    return load_run(task=task, card_settings=recommended_settings(card), overrides=list(overrides))


def adapter_of(task: str, *overrides: str) -> Adapter:
    return load_adapter(find_card(task), run_of(task, "data.max_length=48", *overrides))


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer(shipped_folder("configs") / "models" / "vocab" / "zh.txt", lowercase=True)


def records_of(*items: Any, split: str = "train") -> Records[Any]:
    return Records(split, items, f"{split}.json", "", len(items))


def sample_rows(adapter: Adapter, tokenizer: Any) -> tuple[Records[Any], Rows]:
    records = adapter.read(open_sample(adapter.card), "train")
    return records, adapter.encode(records, adapter.own_tokenizer({"train": records}) or tokenizer)


# ---------------------------------------------------------------------------- tables


def test_a_label_outside_the_cards_list_is_named_with_its_line(tokenizer: Tokenizer) -> None:
    records = records_of(TextRecord(1, ("一", "二"), "0", 4), TextRecord(2, ("一", "二"), "2", 7))
    with pytest.raises(DataError, match=r"train\.json:7: not a label of the card, got '2'") as caught:
        adapter_of("afqmc").encode(records, tokenizer)
    assert caught.value.exit_code == 3


def test_messages_name_the_path_that_was_given_and_of_a_zip_the_member_too(tokenizer: Tokenizer) -> None:
    given = "mine/own.zip:afqmc/train.json"
    records = replace(records_of(TextRecord(1, ("一", "二"), "2", 7)), path=given)
    with pytest.raises(DataError, match=rf"labels of {given} are .*\n  {given}:7: not a label of the card"):
        adapter_of("afqmc").encode(records, tokenizer)
    with pytest.raises(DataError, match=f"^{given}: a split without answers"):
        adapter_of("afqmc").score([], replace(records, items=()))


def test_an_entity_type_outside_the_cards_list_is_named_with_its_line(tokenizer: Tokenizer) -> None:
    records = records_of(EntityRecord(0, "张三", (Entity("person", 0, 1, "张三"),), 9))
    with pytest.raises(DataError, match=r"train\.json:9: not a label of the card, got 'person'"):
        adapter_of("cluener").encode(records, tokenizer)


@pytest.mark.parametrize(
    ("task", "column", "cell", "value", "name"),
    [
        ("afqmc", "label", (3,), 2, "label"),
        ("c3", "label", (0,), 2, "label"),
        ("c3", "choice", (0,), 99, "place of a choice"),
        ("chid", "label", (11,), 7, "label"),
        ("cluener", "spans", (2, 0, 0), 10, "entity type"),
        ("cluener", "spans", (2, 0, 2), 48, "entity token"),
        ("cluener", "tag", (5,), 21, "tag"),
        ("cmrc2018", "answer", (1, 1), 48, "answer token"),
        ("drcd", "text_start", (1,), 60, "first token of the text"),
    ],
)
def test_rows_whose_numbers_are_in_no_table_are_refused(
    tokenizer: Tokenizer, task: str, column: str, cell: tuple[int, ...], value: int, name: str
) -> None:
    adapter = adapter_of(task)
    records, rows = sample_rows(adapter, tokenizer)
    adapter.check_rows(rows, records)
    holder = dict(rows.tokens if column in rows.tokens else rows.columns)
    holder[column] = np.array(holder[column])
    holder[column][cell] = value
    broken = replace(rows, **{"tokens" if column in rows.tokens else "columns": holder})
    with pytest.raises(DataError, match=f"1 rows have a {name} outside its table, got {value}") as caught:
        adapter.check_rows(broken, records)
    assert "train" in str(caught.value.headline.where)


def test_a_split_without_rows_has_nothing_outside_its_tables(tokenizer: Tokenizer) -> None:
    for task in ("cluener", "webqa"):
        adapter = adapter_of(task)
        records = records_of(split="test")
        rows = adapter.encode(records, sample_tokenizer(adapter, tokenizer))
        assert len(rows) == 0
        adapter.check_rows(rows, records)


def sample_tokenizer(adapter: Adapter, tokenizer: Any) -> Any:
    return adapter.own_tokenizer({"train": adapter.read(open_sample(adapter.card), "train")}) or tokenizer


# ---------------------------------------------------------------------------- gold answers that rows lose


def gold(task: str, tokenizer: Any, *items: Any, settings: tuple[str, ...] = ()) -> tuple[GoldAnswers, Any]:
    adapter = adapter_of(task, *settings)
    rows = adapter.encode(records_of(*items), sample_tokenizer(adapter, tokenizer))
    return rows.gold, dict(rows.notes)


LONG = "".join(chr(0x4E00 + index) for index in range(80))


def entity(text: str, *surfaces: str) -> EntityRecord:
    spans = [(text.index(one), text.index(one) + len(one) - 1, one) for one in surfaces]
    return EntityRecord(0, text, tuple(Entity("name", *span) for span in spans), 1)


def test_entities_that_rows_lose(tokenizer: Tokenizer) -> None:
    inside = entity("iphone", "phon")
    assert gold("cluener", tokenizer, inside, entity("张三", "张三")) == (
        GoldAnswers(2, 1),
        {"entities that do not end at token boundaries": 1},
    )
    found, notes = gold("cluener", tokenizer, entity(LONG, LONG[:60], LONG[3:5]))
    assert found == GoldAnswers(2, 1) and notes["entities longer than a window's part of the text"] == 1
    nested = entity("北京大学", "北京大学", "北京")
    assert gold("cluener", tokenizer, nested)[0] == GoldAnswers(2, 0)
    tagged, notes = gold("cluener", tokenizer, nested, settings=("model.entity_head=softmax",))
    assert tagged == GoldAnswers(2, 1) and notes == {"overlapping entities that tags cannot hold": 1}


def test_an_entity_that_one_window_cannot_tag_and_another_can_is_not_lost(tokenizer: Tokenizer) -> None:
    # the longer of two overlapping entities ends behind the first window, in which the shorter is tagged
    crossing = entity(LONG, LONG[40:48], LONG[38:42])
    found, _ = gold("cluener", tokenizer, crossing, settings=("model.entity_head=crf",))
    assert found == GoldAnswers(2, 0)


def asked(context: str, *answers: Answer) -> ReadingRecord:
    return ReadingRecord("Q", context, "谁？", answers)


def test_answers_that_rows_lose(tokenizer: Tokenizer) -> None:
    fine = asked("甲乙丙", Answer("乙丙", 1))
    assert gold("cmrc2018", tokenizer, fine, asked("甲")) == (GoldAnswers(1, 0), {})
    inside = asked("于1984年", Answer("984", 2))
    what = "answers that do not end at token boundaries, trained on the tokens they touch"
    assert gold("cmrc2018", tokenizer, fine, inside) == (GoldAnswers(2, 1), {what: 1})
    blank = asked("甲 乙", Answer(" ", 1))
    what = "answers without a token, left out of training"
    assert gold("cmrc2018", tokenizer, fine, blank) == (GoldAnswers(2, 1), {what: 1})
    absent = asked("甲", Answer("丁", None))
    what = "questions whose answer does not appear in the text, left out of training"
    assert gold("drcd", tokenizer, fine, absent) == (GoldAnswers(2, 1), {what: 1})
    found, notes = gold("cmrc2018", tokenizer, fine, asked(LONG, Answer(LONG[:60], 0)))
    assert found == GoldAnswers(2, 1) and notes["answers longer than a window's part of the text"] == 1
    what = "answers of more than 1 tokens, which are never predicted"
    short = gold(
        "cmrc2018", tokenizer, fine, asked("甲", Answer("甲", 0)), settings=("data.max_answer_length=1",)
    )
    assert short == (GoldAnswers(2, 1), {what: 1})


def test_choices_that_rows_cannot_tell_apart(tokenizer: Tokenizer) -> None:
    twice = ChoiceRecord(0, ("文",), "问？", ("龘靐", "齉龘", "甲"), 0, 0)
    other = ChoiceRecord(1, ("文",), "问？", ("龘靐", "齉龘", "甲"), 2, 1)
    what = "correct choices with the same tokens as another choice"
    unknown = tokenizer.encode_texts(["龘靐", "齉龘"])
    assert unknown[0].ids.tolist() == unknown[1].ids.tolist()
    assert gold("c3", tokenizer, twice, other) == (GoldAnswers(2, 1), {what: 1})
    blanks = ClozeRecord(0, ("#idiom1#和#idiom2#",), ("#idiom1#", "#idiom2#"), twice.choices, (1, 2), 1)
    assert gold("chid", tokenizer, blanks) == (GoldAnswers(2, 1), {what: 1})


def test_a_choice_that_is_cut_is_noted(tokenizer: Tokenizer) -> None:
    cut = ChoiceRecord(0, ("文",), "问？", ("甲", LONG), 1, 0)
    _, notes = gold("c3", tokenizer, cut)
    assert notes == {"cut to 48 tokens": 1, "choices that are cut": 1}


def test_passages_whose_answers_are_cut_off_or_too_long(tokenizer: Tokenizer) -> None:
    def question(text: str, answer: str) -> PassagesRecord:
        return PassagesRecord(0, "谁？", (Passage("无"), Passage(text, (answer,))), (answer,))

    what = "questions whose answers are cut off or longer than 12 characters"
    fine, behind = question("是甲乙", "甲乙"), question(LONG, LONG[50:52])
    assert gold("webqa", tokenizer, fine)[0] == GoldAnswers(1, 0)
    found, notes = gold("webqa", tokenizer, fine, behind, question(LONG, LONG[:13]))
    assert found == GoldAnswers(3, 2) and notes[what] == 2
    longer = gold("webqa", tokenizer, question(LONG, LONG[:13]), settings=("data.max_answer_length=13",))
    assert longer[0] == GoldAnswers(1, 0)


# ---------------------------------------------------------------------------- nothing to learn from


@pytest.mark.parametrize(
    ("task", "record"),
    [
        ("afqmc", TextRecord(0, ("一", "二"), None, 1)),
        ("cluener", EntityRecord(0, "张三", None, 1)),
        ("cmrc2018", asked("甲")),
        ("c3", ChoiceRecord(0, ("文",), "问？", ("甲", "乙"), None, 0)),
        ("chid", ClozeRecord(0, ("#idiom1#",), ("#idiom1#",), ("甲", "乙"), None, 1)),
        ("webqa", PassagesRecord(0, "谁？", (Passage("无"),), None)),
    ],
)
def test_a_train_split_without_answers_is_refused(tokenizer: Tokenizer, task: str, record: Any) -> None:
    adapter = adapter_of(task)
    given = sample_tokenizer(adapter, tokenizer)
    for split in ("test", "train"):
        records = records_of(record, split=split)
        rows = adapter.encode(records, given)
        if split == "test":
            adapter.check_rows(rows, records)
            continue
        with pytest.raises(DataError, match=r"nothing to learn from: no record has an answer") as caught:
            adapter.check_rows(rows, records)
        assert caught.value.exit_code == 3 and caught.value.headline.where == "train.json"


@pytest.mark.parametrize(
    ("task", "record"),
    [
        ("cluener", entity("iphone", "phon")),
        ("cmrc2018", asked("于1984年", Answer("984", 2))),
        ("c3", ChoiceRecord(0, ("文",), "问？", ("龘靐", "齉龘"), 0, 0)),
        ("chid", ClozeRecord(0, ("#idiom1#",), ("#idiom1#",), ("龘靐", "齉龘"), (0,), 1)),
        ("webqa", PassagesRecord(0, "谁？", (Passage(LONG, (LONG[:20],)),), (LONG[:20],))),
    ],
)
def test_a_train_split_of_which_tokens_express_no_answer_is_refused(
    tokenizer: Tokenizer, task: str, record: Any
) -> None:
    adapter = adapter_of(task)
    records = records_of(record)
    rows = adapter.encode(records, sample_tokenizer(adapter, tokenizer))
    with pytest.raises(DataError, match="none of the 1 answers can be represented") as caught:
        adapter.check_rows(rows, records)
    assert caught.value.exit_code == 3
    assert caught.value.next_step and all(what in str(caught.value) for what in rows.notes)
