"""Seeds by hand, the interval and the paired bootstrap against scipy, equal models."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from clue_runner.data.records import Entity
from clue_runner.metrics.calibration import calibrate
from clue_runner.metrics.confidence import Summed, summed_mean
from clue_runner.metrics.entities import score_entities
from clue_runner.metrics.significance import judge, paired_bootstrap, paired_draws, summarise_seeds

GENERATOR = np.random.default_rng(7)
FIRST = 100.0 * (GENERATOR.random(400) < 0.70)
SECOND = np.where(GENERATOR.random(400) < 0.8, FIRST, 100.0 * (GENERATOR.random(400) < 0.8))


def test_three_seeds_by_hand() -> None:
    found = summarise_seeds([70.0, 73.0, 76.0])  # squares of deviations 9 + 0 + 9, over n - 1 = 2
    assert found.mean == 73.0 and found.std == 3.0 and found.count == 3
    assert found.interval is not None
    assert 70.0 <= found.interval[0] < 73.0 < found.interval[1] <= 76.0


def test_one_seed_shows_no_spread() -> None:
    found = summarise_seeds([70.0])
    assert (found.mean, found.std, found.interval) == (70.0, None, None)


def test_the_interval_of_a_mean_is_scipys() -> None:
    stats = pytest.importorskip("scipy.stats")
    peer = stats.bootstrap((FIRST,), np.mean, method="percentile", n_resamples=9999, rng=3)
    ours = summed_mean(FIRST).interval
    assert ours == pytest.approx((peer.confidence_interval.low, peer.confidence_interval.high), abs=0.6)


def test_the_interval_of_a_difference_is_scipys() -> None:
    stats = pytest.importorskip("scipy.stats")

    def difference(first: NDArray[np.float64], second: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
        return np.asarray(second.mean(axis=axis) - first.mean(axis=axis))

    peer = stats.bootstrap(
        (FIRST, SECOND),
        difference,
        paired=True,
        vectorized=True,
        method="percentile",
        n_resamples=9999,
        rng=3,
    )
    ours = paired_bootstrap(summed_mean(FIRST), summed_mean(SECOND))
    assert ours.difference == pytest.approx(SECOND.mean() - FIRST.mean())
    assert ours.interval == pytest.approx(
        (peer.confidence_interval.low, peer.confidence_interval.high), abs=0.3
    )
    drawn = peer.bootstrap_distribution
    assert ours.p == pytest.approx(min(1, 2 * min((drawn <= 0).mean(), (drawn >= 0).mean())), abs=0.02)


def test_equal_answers_differ_by_nothing() -> None:
    found = paired_bootstrap(summed_mean(FIRST), summed_mean(FIRST.copy()))
    assert (found.difference, found.interval, found.p) == (0.0, (0.0, 0.0), 1.0)


def test_the_order_of_two_models_only_turns_the_sign() -> None:
    forth = paired_bootstrap(summed_mean(FIRST), summed_mean(SECOND))
    back = paired_bootstrap(summed_mean(SECOND), summed_mean(FIRST))
    assert back.difference == -forth.difference
    assert back.p == pytest.approx(forth.p, abs=0.01)
    assert back.interval == pytest.approx((-forth.interval[1], -forth.interval[0]), abs=0.3)


def test_a_model_that_is_always_better_has_a_small_p() -> None:
    found = paired_bootstrap(summed_mean(np.zeros(50)), summed_mean(np.full(50, 100.0)))
    assert found.difference == 100.0 and found.interval == (100.0, 100.0) and 0 < found.p < 0.001


def test_scores_that_are_no_means_are_compared_too() -> None:
    gold = [[Entity("a", 0, 1, "xy")], [Entity("b", 2, 3, "zz")]] * 20
    some = [[Entity("a", 0, 1, "xy")], []] * 20
    right = score_entities(gold, gold, ["a", "b"]).summed["strict_micro_f1"]
    half = score_entities(some, gold, ["a", "b"]).summed["strict_micro_f1"]
    found = paired_bootstrap(half, right)
    assert found.difference == pytest.approx(100 - 200 / 3)  # 20 of 20 found, 20 of 40 there
    assert found.interval[0] < found.difference < found.interval[1] and found.p < 0.01


def test_other_records_are_refused() -> None:
    with pytest.raises(ValueError, match="same records"):
        paired_bootstrap(summed_mean(FIRST), summed_mean(FIRST[:-1]))
    with pytest.raises(ValueError, match="at least one"):
        paired_bootstrap(summed_mean([]), Summed(np.zeros(0), lambda sums: sums))


def test_calibration_by_hand() -> None:
    found = calibrate([0.95, 0.85, 0.92, 0.3], [True, False, True, False])
    assert [(one.low, one.count) for one in found.bins] == [(0.2, 1), (0.8, 1), (0.9, 2)]
    assert found.bins[-1].confidence == pytest.approx(0.935) and found.bins[-1].accuracy == 1.0
    # (0.3 + 0.85 + 2 x 0.065) / 4
    assert found.error == pytest.approx((0.3 + 0.85 + 0.13) / 4)


def test_the_ends_have_bins() -> None:
    found = calibrate([0.0, 1.0, 0.1], [False, True, False])
    assert [(one.low, one.high, one.count) for one in found.bins] == [(0.0, 0.1, 2), (0.9, 1.0, 1)]
    with pytest.raises(ValueError, match="probability"):
        calibrate([1.5], [True])


def test_several_seeds_are_compared_by_their_means() -> None:
    """A model's seeds answer the same records: equal seeds say no more than one of them."""
    one = paired_bootstrap(summed_mean(FIRST), summed_mean(SECOND))
    thrice = judge([paired_draws([summed_mean(FIRST)] * 3, [summed_mean(SECOND)] * 2)])
    assert thrice.difference == pytest.approx(one.difference)
    assert (thrice.interval, thrice.p) == (pytest.approx(one.interval), pytest.approx(one.p))
    by_hand = judge(
        [paired_draws([summed_mean([0.0, 100.0]), summed_mean([50.0, 70.0])], [summed_mean([90.0, 80.0])])]
    )
    assert by_hand.difference == pytest.approx(85.0 - (50.0 + 60.0) / 2)


def test_over_tasks_the_differences_are_averaged_and_the_draws_independent() -> None:
    """The variance of a mean of two independent differences is a quarter of the sum of their variances."""
    tasks = [paired_draws([summed_mean(FIRST)], [summed_mean(SECOND)], seed=seed) for seed in (1, 2)]
    both = judge(tasks)
    assert both.difference == pytest.approx(tasks[0].difference)
    assert both.records == 800
    width = float(tasks[0].found.std())
    spread = float(np.mean([one.found for one in tasks], axis=0).std())
    assert spread == pytest.approx(width / 2**0.5, rel=0.05)
    turned = [tasks[0], paired_draws([summed_mean(SECOND)], [summed_mean(FIRST)], seed=2)]
    assert judge(turned).difference == pytest.approx(0.0, abs=1e-9) and judge(turned).p > 0.5
