from __future__ import annotations

import pytest

from clue_runner.metrics.accuracy import accuracy, count_correct, majority_share, wilson_interval


def test_accuracy_and_chance_are_percent() -> None:
    gold, predicted = ["a", "a", "a", "b"], ["a", "b", "a", "b"]
    assert accuracy(gold, predicted) == 75.0
    assert count_correct(gold, predicted) == 3
    assert majority_share(gold) == 75.0
    assert accuracy(gold, gold) == 100.0


def test_lengths_must_agree() -> None:
    with pytest.raises(ValueError, match="zip"):
        accuracy(["a"], ["a", "b"])


# Newcombe, Two-sided confidence intervals for the single proportion (1998), table I, method 3
@pytest.mark.parametrize(
    ("correct", "total", "low", "high"),
    [(81, 263, 25.53, 36.62), (15, 148, 6.24, 16.05), (0, 20, 0.0, 16.11), (1, 29, 0.61, 17.18)],
)
def test_wilson_interval_agrees_with_published_values(
    correct: int, total: int, low: float, high: float
) -> None:
    found = wilson_interval(correct, total)
    assert found == pytest.approx((low, high), abs=0.01)


def test_wilson_interval_stays_inside() -> None:
    low, high = wilson_interval(10, 10)
    assert 0 < low < 100 and high == pytest.approx(100.0)
    assert wilson_interval(0, 3)[0] == pytest.approx(0.0, abs=1e-9)
