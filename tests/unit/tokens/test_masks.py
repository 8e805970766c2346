"""Masks: which tokens, how many, what stands in their place; a row's are a function of the row alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from clue_runner.tokens.corpus.lots import lots
from clue_runner.tokens.corpus.masks import Draw, Masking, Split

PAD, UNK, CLS, SEP, MASK, VOCABULARY, LENGTH = 0, 1, 2, 3, 4, 500, 64
ORDINARY = np.arange(VOCABULARY) > MASK
MASKING = Masking(0.15, Split(0.8, 0.1, 0.1), True, 1, False, MASK, ORDINARY)
BUDGET = 9  # of a row of 64: 62 * 0.15 = 9.3


def batch(rows: int = 400, seed: int = 0) -> dict[str, Any]:
    """Rows of words with some unknown tokens; the last row is padding, the one before is short."""
    generator = np.random.default_rng(seed)
    ids = generator.integers(MASK + 1, VOCABULARY, (rows, LENGTH)).astype(np.uint16)
    ids[generator.random(ids.shape) < 0.03] = UNK
    ids[:, 20], ids[:, 0], ids[:, -1] = SEP, CLS, SEP
    lengths = np.full(rows, LENGTH, np.int32)
    lengths[-2:] = 30, 1
    ids[-2, 29:], ids[-1] = PAD, PAD
    ids[-2, 29] = SEP
    numbers = np.arange(rows, dtype=np.int64)
    numbers[-1] = -1
    starts = (generator.random(ids.shape) < 0.6).astype(np.uint8)
    weight = (numbers >= 0).astype(np.float32)
    return {"token_ids": ids, "word_starts": starts, "lengths": lengths, "row": numbers, "weight": weight}


def chosen_of(made: dict[str, Any], rows: int) -> np.ndarray:
    """(rows, LENGTH): True at masked places."""
    found = np.zeros((rows, LENGTH), np.bool_)
    row, column = np.nonzero(made["targets"] >= 0)
    found[row, made["places"][row, column]] = True
    return found


def words_of(given: dict[str, Any]) -> np.ndarray:
    """(rows, LENGTH): a number for each word; what is no ordinary token ends one."""
    ordinary = ORDINARY[given["token_ids"]]
    begins = (given["word_starts"] != 0) | ~ordinary
    begins[:, 1:] |= ~ordinary[:, :-1]
    return np.cumsum(begins, axis=1)


@pytest.mark.parametrize("longest", [1, 3])
@pytest.mark.parametrize("words", [True, False])
def test_a_share_of_each_row_is_masked_and_nothing_special(words: bool, longest: int) -> None:
    given = batch()
    made = Draw(replace(MASKING, words=words, longest=longest), 42, 0)(dict(given))
    assert made["places"].shape == made["targets"].shape == (400, BUDGET) and "word_starts" not in made
    found = chosen_of(made, 400)
    originals = given["token_ids"][found]
    assert ORDINARY[originals].all()
    asked = (made["targets"] >= 0).sum(axis=1)
    assert asked[-1] == 0 and 0 < asked[-2] <= 4 and asked[:-2].max() == BUDGET
    assert asked[:-2].mean() > BUDGET - (0.1 if longest == 1 else 0.5)
    row, column = np.nonzero(made["targets"] >= 0)
    assert (made["targets"][row, column] == given["token_ids"][row, made["places"][row, column]]).all()
    assert (np.diff(made["places"][:-2], axis=1) > 0).mean() > 0.95  # in the order of the row
    untouched = made["token_ids"] == given["token_ids"]
    assert untouched[~found].all() and (made["segment_ids"] == 0).all()
    assert made["token_ids"].dtype == made["places"].dtype == made["targets"].dtype == np.int32


def test_words_are_masked_as_a_whole() -> None:
    given = batch()
    found, words = chosen_of(Draw(MASKING, 42, 0)(dict(given)), 400), words_of(given)
    ordinary = ORDINARY[given["token_ids"]] & (np.arange(LENGTH) < given["lengths"][:, None])
    for row in range(399):
        for word in np.unique(words[row][found[row]]):
            assert found[row][(words[row] == word) & ordinary[row]].all()
    single = chosen_of(Draw(replace(MASKING, words=False), 42, 0)(dict(given)), 400)
    broken = [
        not single[row][(words[row] == word) & ordinary[row]].all()
        for row in range(399)
        for word in np.unique(words[row][single[row]])
    ]
    assert np.mean(broken) > 0.3  # else the test would say nothing about words


def test_every_place_has_the_same_chance() -> None:
    given = {name: values[:-2] for name, values in batch(2_002, seed=3).items()}
    given["token_ids"] = np.where(given["token_ids"] == UNK, 9, given["token_ids"])
    given["word_starts"] = np.ones_like(given["word_starts"])
    counts = sum(chosen_of(Draw(MASKING, 1, epoch)(dict(given)), 2_000).sum(axis=0) for epoch in range(3))
    places = np.delete(counts, [0, 20, 63]).astype(float)
    assert counts[[0, 20, 63]].sum() == 0
    expected = places.mean()
    statistic = ((places - expected) ** 2 / expected / (1 - BUDGET / 61)).sum()
    assert statistic < 107  # chi-square with 60 degrees of freedom: 0.02 % above


def test_of_the_masked_80_10_10() -> None:
    given = batch(4_002, seed=1)
    made = Draw(MASKING, 7, 2)(dict(given))
    found = chosen_of(made, 4_002)
    new, old = made["token_ids"][found], given["token_ids"][found].astype(np.int32)
    counts = np.array([(new == MASK).sum(), (new == old).sum(), ((new != MASK) & (new != old)).sum()])
    same_by_lot = 0.1 / ORDINARY.sum()  # another token that happens to be the same
    expected = len(new) * np.array([0.8, 0.1 + same_by_lot, 0.1 - same_by_lot])
    assert ((counts - expected) ** 2 / expected).sum() < 13.8  # 2 degrees of freedom: 0.1 % above
    others = new[(new != MASK) & (new != old)]
    assert ORDINARY[others].all()
    tally = np.bincount(others, minlength=VOCABULARY)[ORDINARY].astype(float)
    statistic = ((tally - tally.mean()) ** 2 / tally.mean()).sum()
    assert statistic < 614  # 494 degrees of freedom: 0.02 % above
    whole = Draw(replace(MASKING, split=Split(1.0, 0.0, 0.0)), 7, 2)(dict(given))
    assert (whole["token_ids"][found] == MASK).all()


def test_runs_are_of_neighbours_and_shorter_ones_more_often() -> None:
    given = batch(2_002, seed=2)
    given["token_ids"] = np.where(given["token_ids"] == UNK, 9, given["token_ids"])
    given["word_starts"] = np.ones_like(given["word_starts"])
    longer = chosen_of(Draw(replace(MASKING, longest=4), 5, 0)(dict(given)), 2_002)
    single = chosen_of(Draw(MASKING, 5, 0)(dict(given)), 2_002)

    def beside(found: np.ndarray) -> float:
        return float((found[:, 1:] & found[:, :-1]).sum() / found.sum())

    assert beside(longer) > 0.45 and beside(single) < 0.2


def test_a_row_draws_the_same_whatever_it_is_batched_with() -> None:
    given = batch()
    whole = Draw(MASKING, 42, 3)(dict(given))
    some = np.array([250, 3, 77, 399])
    part = Draw(MASKING, 42, 3)({name: values[some] for name, values in given.items()})
    assert all(np.array_equal(part[name], whole[name][some]) for name in part)
    for other in (Draw(MASKING, 42, 4), Draw(MASKING, 43, 3), Draw(MASKING, 42, -1)):
        assert (other(dict(given))["places"] != whole["places"]).mean() > 0.5


@pytest.mark.parametrize("rate", [0.15, 0.75])
def test_dropped_tokens_are_gone_and_the_others_keep_their_positions(rate: float) -> None:
    given = batch()
    masking = replace(MASKING, rate=rate, dropped=True)
    made, plain = Draw(masking, 42, 0)(dict(given)), Draw(replace(masking, dropped=False), 42, 0)(dict(given))
    most = masking.most(LENGTH)
    assert made["token_ids"].shape == made["position_ids"].shape == (400, LENGTH - most)
    assert np.array_equal(made["places"], plain["places"]) and np.array_equal(
        made["targets"], plain["targets"]
    )
    for row in range(399):
        kept = made["position_ids"][row, : made["lengths"][row]]
        assert (np.diff(kept) > 0).all() and kept[0] == 0
        assert np.array_equal(given["token_ids"][row, kept], made["token_ids"][row, : len(kept)])
        asked = made["places"][row][made["targets"][row] >= 0]
        assert not set(asked) & set(kept)
        assert MASK not in made["token_ids"][row]
    assert (made["lengths"][:-2] == LENGTH - most).all() and made["lengths"][-1] == 1


def test_lots_are_even_and_belong_to_their_stream() -> None:
    rows = np.arange(500, dtype=np.int64)
    found = lots(42, 0, rows, 1, 200)
    assert found.min() >= 0 and found.max() < 1
    counts = np.bincount((found.ravel() * 100).astype(int), minlength=100)
    assert ((counts - 1_000) ** 2 / 1_000).sum() < 160  # 99 degrees of freedom: 0.01 % above
    assert abs(np.corrcoef(found[:, :-1].ravel(), found[:, 1:].ravel())[0, 1]) < 0.01
    assert abs(np.corrcoef(found.ravel(), lots(42, 0, rows, 2, 200).ravel())[0, 1]) < 0.01
    assert np.array_equal(lots(42, 0, rows[7:9], 1, 200), found[7:9])
