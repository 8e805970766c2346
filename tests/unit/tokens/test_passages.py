"""Passages to rows, and what an epoch draws of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from clue_runner.data.records import Passage, PassagesRecord
from clue_runner.tokens.characters import CharacterTokenizer
from clue_runner.tokens.layouts.passages import Sampling, encode_passages, sample_passages
from clue_runner.tokens.rows import GoldAnswers

TOKENIZER = CharacterTokenizer([chr(code) for code in range(0x4E00, 0x4E00 + 500)])
LONG = "".join(chr(0x4E00 + place % 500) for place in range(900))


def record(name: int, *passages: tuple[str, tuple[str, ...]], repeat: int = 1) -> PassagesRecord:
    return PassagesRecord(name, "一丁七", tuple(Passage(*one) for one in passages), None, repeat)


def encode(*records: PassagesRecord, max_length: int = 2048) -> object:
    return encode_passages(records, TOKENIZER, max_length=max_length, max_question_length=64)


def test_every_exact_match_is_labelled_with_its_length() -> None:
    rows = encode(
        record(0, ("一丁一丁七", ("一丁",)), ("丁七", ())), record(1), record(2, ("一一一", ("一一",)))
    )
    assert rows.tokens["start_tags"].tolist() == [2, 0, 2, 0, 0, 0, 0, 2, 2, 0]
    assert rows.tokens["end_tags"].tolist() == [0, 2, 0, 2, 0, 0, 0, 0, 2, 2]
    assert rows.record.tolist() == [0, 0, 2] and rows.notes == {"questions without passages": 1}
    assert rows.columns["question_ids"].tolist() == [[2, 3, 5]] * 3


def test_long_passages_and_questions_are_cut_and_counted() -> None:
    rows = encode_passages([record(0, (LONG, ()))], TOKENIZER, max_length=100, max_question_length=2)
    assert rows.lengths.tolist() == [100] and rows.columns["question_ids"].shape == (1, 2)
    assert set(rows.notes.values()) == {1}


def test_answers_that_no_row_holds_are_counted() -> None:
    rows = encode(
        record(0, ("一丁七" * 40 + "乙", ("一丁", "乙", "乙乙")), ("丁七", ("七",))),
        record(1, ("一" * 99 + "丁七", ("丁七", "丁"))),
        max_length=100,
    )
    assert rows.gold == GoldAnswers(total=6, lost=3)
    assert rows.gold.lost_share == 0.5
    assert rows.notes == {
        "passages cut to 100 characters": 2,
        "answers not within the first 100 characters of their passage": 3,
    }
    assert encode(record(0, ("一丁", ("丁",)))).gold == GoldAnswers(1, 0)


def test_an_answer_longer_than_a_tag_can_say_is_lost_and_not_wrapped_around() -> None:
    answer = "一" * 40_000
    rows = encode(record(0, (answer + "丁", (answer, "丁"))), max_length=50_000)
    assert rows.gold == GoldAnswers(2, 1)
    assert np.flatnonzero(rows.tokens["start_tags"]).tolist() == [40_000]


def test_an_epoch_asks_each_question_once_and_is_a_function_of_seed_and_epoch() -> None:
    rows = encode(
        *(record(n, *((chr(0x4E00 + n) + chr(0x4E10 + p), ()) for p in range(4))) for n in range(9))
    )
    draws = [
        sample_passages(rows, seed, epoch, Sampling(256, 0))
        for seed, epoch in ((1, 0), (1, 0), (1, 1), (2, 0))
    ]
    assert all(one.record.tolist() == list(range(9)) for one in draws)
    texts = [one.tokens["token_ids"].tolist() for one in draws]
    assert texts[0] == texts[1] and texts[0] != texts[2] and texts[0] != texts[3]
    seen = {sample_passages(rows, 1, e, Sampling(256, 0)).tokens["token_ids"][1] for e in range(40)}
    assert len(seen) == 4


def test_a_draw_keeps_the_host_columns() -> None:
    rows = replace(encode(record(0, ("一丁", ("一",)))), host_columns=frozenset({"repeat"}))
    assert sample_passages(rows, 0, 0, Sampling(256, 0)).host_columns == {"row", "repeat"}


def test_a_repeated_question_is_asked_as_often_with_draws_of_its_own() -> None:
    rows = encode(record(0, *((chr(0x4E00 + p), ()) for p in range(30)), repeat=2), record(1, ("七", ())))
    found = sample_passages(rows, 3, 0, Sampling(256, 0))
    assert found.record.tolist() == [0, 0, 1] and found.group.tolist() == [0, 1, 2]
    assert found.tokens["token_ids"][0] != found.tokens["token_ids"][1]


def test_cuts_keep_their_bounds_and_change_each_epoch() -> None:
    rows = encode(record(0, (LONG, ())))
    lengths, firsts = [], []
    for epoch in range(200):
        found = sample_passages(rows, 1, epoch, Sampling(256, 0))
        lengths.append(int(found.lengths[0]))
        firsts.append(int(found.tokens["token_ids"][0]))
        ids = found.tokens["token_ids"]
        assert ((np.diff(ids) == 1) | (np.diff(ids) == -499)).all()
    assert min(lengths) >= 128 and max(lengths) == 256 and len(set(lengths)) > 30
    assert 60 < sum(first == 2 and length == 256 for first, length in zip(firsts, lengths, strict=True)) < 140
    short = encode(record(0, (LONG[:128], ())))
    assert sample_passages(short, 1, 0, Sampling(256, 0)).lengths.tolist() == [128]
    assert sample_passages(rows, 1, 0, Sampling(None, 0)).lengths.tolist() == [900]


def test_a_cut_answer_loses_both_its_ends() -> None:
    answer = LONG[300:310]
    rows = encode(record(0, (LONG[:500], (answer,))))
    kinds = set()
    for epoch in range(300):
        found = sample_passages(rows, 1, epoch, Sampling(256, 0))
        starts, ends = (np.flatnonzero(found.tokens[name]) for name in ("start_tags", "end_tags"))
        assert len(starts) == len(ends) <= 1
        if len(starts):
            assert ends[0] - starts[0] == 9
            piece = found.tokens["token_ids"][starts[0] : ends[0] + 1]
            assert piece.tolist() == TOKENIZER.character_ids(answer).tolist()
        kinds.add(len(starts))
    assert kinds == {0, 1}


def test_foreign_passages_come_without_labels_and_without_the_answer() -> None:
    records = [record(n, (chr(0x4E00 + n) * 3, (chr(0x4E00 + n),))) for n in range(10)]
    records.append(record(10, (chr(0x4E00) + "七", ())))
    rows = encode(*records)
    found = sample_passages(rows, 5, 0, Sampling(256, 0.999))
    owners = [found.tokens["token_ids"][offset] - 2 for offset in found.offsets[:-1]]
    assert sum(owner != own for own, owner in enumerate(owners[:10])) == 10
    assert owners[0] != 0  # the last passage holds question 0's answer
    assert found.tokens["start_tags"].sum() == 0
    assert found.record.tolist() == list(range(11))


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_a_single_question_has_no_foreign_passages(share: float) -> None:
    rows = encode(record(0, ("一丁", ("一",))))
    assert sample_passages(rows, 0, 0, Sampling(256, share)).tokens["start_tags"].tolist() == [1, 0]
