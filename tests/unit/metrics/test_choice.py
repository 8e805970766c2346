"""Accuracy of choices and blanks, chance, missing answers, and the shared bootstrap."""

from __future__ import annotations

import numpy as np
import pytest

from clue_runner.metrics.choice import chance_score, score_blanks, score_choices
from clue_runner.metrics.confidence import bootstrap_interval, mean_interval


def test_accuracy_chance_and_unanswered_questions() -> None:
    scores = score_choices([0, 2, None, 1], [0, 2, 1, 0], [4, 4, 2, 3])
    assert scores.accuracy == 50.0
    assert scores.chance == pytest.approx(100 * (1 / 4 + 1 / 4 + 1 / 2 + 1 / 3) / 4)
    assert scores.unanswered == (2,)
    assert scores.total == 4


def test_blanks_are_counted_one_by_one_over_all_records() -> None:
    answers = [{"#idiom000000#": 3, "#idiom000001#": 1}, {"#idiom000002#": 9}]
    predictions = [{"#idiom000000#": 3, "#idiom000001#": 2}, {"#idiom000002#": 9, "#idiom000009#": 0}]
    scores = score_blanks(predictions, answers, [10, 10])
    assert scores.accuracy == pytest.approx(200 / 3)
    assert scores.total == 3
    assert scores.chance == pytest.approx(10.0)


def test_a_missing_tag_is_wrong_and_named() -> None:
    scores = score_blanks([{}, {"#idiom#": 1}], [{"#idiom#": 0}, {"#idiom#": 1}], [7, 7])
    assert scores.accuracy == 50.0
    assert scores.unanswered == ("#idiom#",)
    assert scores.chance == pytest.approx(100 / 7)


def test_chance_of_blanks_weighs_records_by_their_blanks() -> None:
    scores = score_blanks([{}, {}], [{"a": 0, "b": 1, "c": 0}, {"d": 0}], [2, 4])
    assert scores.chance == pytest.approx((3 * 50 + 25) / 4)


def test_unequal_lengths_are_a_bug_and_not_a_score() -> None:
    with pytest.raises(ValueError, match="zip"):
        score_choices([0], [0, 1], [2, 2])


def test_chance_of_nothing_is_zero() -> None:
    assert chance_score([]) == 0.0


def test_bootstrap_of_a_share_agrees_with_the_normal_interval() -> None:
    values = np.array([1.0] * 600 + [0.0] * 400)
    low, high = mean_interval(values)
    half = 1.96 * np.sqrt(0.6 * 0.4 / 1000)
    assert low == pytest.approx(0.6 - half, abs=0.005)
    assert high == pytest.approx(0.6 + half, abs=0.005)


def test_bootstrap_draws_examples_with_replacement_and_repeats_for_a_seed() -> None:
    sums: list[np.ndarray] = []

    def record(block: np.ndarray) -> np.ndarray:
        sums.append(block)
        return block[:, 0]

    interval = bootstrap_interval(np.ones((50, 2)), record, resamples=30)
    assert np.all(np.concatenate(sums) == 50)  # every resample holds as many examples as there are
    assert interval == (50.0, 50.0)
    assert mean_interval(range(20), seed=1) == mean_interval(range(20), seed=1)
    assert mean_interval(range(20), seed=1) != mean_interval(range(20), seed=2)


def test_bootstrap_is_the_same_whatever_the_block_size(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.arange(40.0)
    whole = mean_interval(values)
    monkeypatch.setattr("clue_runner.metrics.confidence.CELLS_AT_ONCE", 100)
    assert mean_interval(values) == whole


def test_no_examples_have_no_interval() -> None:
    assert all(np.isnan(end) for end in mean_interval([]))
