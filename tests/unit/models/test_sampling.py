"""Sampling: the two conventions of top-p, top-k before it, frequencies, and what limits repetition."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from clue_runner.models.decoding.sampling import Sampling, generator_of, repeating

CHANCES = np.array([0.15, 0.5, 0.05, 0.3])
LOGITS = np.log(CHANCES)
DRAWS = 10_000


@pytest.mark.parametrize(("rule", "kept"), [("crossing", {1: 0.625, 3: 0.375}), ("below", {1: 1.0})])
def test_the_two_rules_of_top_p(rule, kept) -> None:
    found = Sampling(top_p=0.75, top_p_rule=rule).probabilities(LOGITS)
    assert set(np.flatnonzero(found)) == set(kept)
    assert [found[place] for place in kept] == pytest.approx(list(kept.values()))


@pytest.mark.parametrize("rule", ["crossing", "below"])
@pytest.mark.parametrize(("limit", "count"), [(1e-9, 1), (1.0, 4)])
def test_top_p_keeps_one_at_least_and_all_at_most(rule, limit, count) -> None:
    falling = np.sort(CHANCES)[::-1]
    found = Sampling(top_p=limit, top_p_rule=rule).probabilities(np.log(falling))
    # sums that stay below 1 are all but the last one's
    assert np.count_nonzero(found) == count - (rule == "below" and limit == 1.0)


def test_top_p_looks_at_what_top_k_has_left() -> None:
    # of the best two, 0.625 and 0.375, the first alone reaches 0.6; of all four it would not
    assert np.flatnonzero(Sampling(top_k=2, top_p=0.6).probabilities(LOGITS)).tolist() == [1]
    assert np.flatnonzero(Sampling(top_p=0.6).probabilities(LOGITS)).tolist() == [1, 3]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (Sampling(), CHANCES),
        (Sampling(temperature=0.5), CHANCES**2 / (CHANCES**2).sum()),
        (Sampling(top_k=3), np.array([0.15, 0.5, 0, 0.3]) / 0.95),
        (Sampling(top_p=0.75), np.array([0, 0.625, 0, 0.375])),
        (Sampling(temperature=2.0, top_k=3, top_p=0.6), None),
    ],
)
def test_draws_have_the_stated_frequencies(settings, expected) -> None:
    if expected is None:
        roots = np.sqrt(CHANCES) * (CHANCES > 0.1)
        order = np.argsort(-roots)[:2]  # of .41, .32 and .22 after top-k, the first two reach .6
        expected = np.zeros(4)
        expected[order] = roots[order] / roots[order].sum()
    generator = generator_of(20261128, 0)
    drawn = np.bincount([settings.draw(LOGITS, [], generator) for _ in range(DRAWS)], minlength=4)
    possible = expected > 0
    assert not drawn[~possible].any()
    assert stats.chisquare(drawn[possible], expected[possible] * DRAWS).pvalue > 0.01


def test_a_wrong_frequency_would_be_seen() -> None:
    generator = generator_of(20261128, 0)
    drawn = np.bincount([Sampling().draw(LOGITS, [], generator) for _ in range(DRAWS)], minlength=4)
    assert stats.chisquare(drawn, np.array([0.17, 0.48, 0.05, 0.3]) * DRAWS).pvalue < 0.01


def test_temperature_0_takes_the_most_probable() -> None:
    assert Sampling(temperature=0).draw(LOGITS, [], generator_of(0, 0)) == 1


def test_a_sample_is_a_function_of_seed_and_number() -> None:
    first, again, other, seed = (
        [Sampling().draw(LOGITS, [], generator) for _ in range(50)]
        for generator in (generator_of(1, 2), generator_of(1, 2), generator_of(1, 3), generator_of(2, 2))
    )
    assert first == again
    assert first != other and first != seed


def test_no_run_is_written_twice() -> None:
    assert repeating([1, 2, 3, 1, 2], 3) == [3]
    assert repeating([1, 2, 1, 3, 1], 2) == [2, 3]
    assert repeating([4, 5], 1) == [4, 5]
    assert repeating([1], 3) == []
    flat = np.zeros(4)
    assert Sampling(temperature=0, no_repeat=2).draw(flat, [0, 0], generator_of(0, 0)) == 1


def test_the_penalty_lowers_what_was_written_whatever_its_sign() -> None:
    found = Sampling(repetition_penalty=2.0).limited(np.array([4.0, -4.0, 1.0]), [0, 1, 1])
    assert found.tolist() == [2.0, -8.0, 1.0]
