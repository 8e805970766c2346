from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from clue_runner.metrics.assignment import DECODINGS, choose_candidates

HAND = np.array([[5.0, 4.0, 0.0], [6.0, 1.0, 0.0]])


def test_hand_case() -> None:
    assert choose_candidates(HAND, "assignment") == [1, 0]
    assert HAND[[0, 1], [1, 0]].sum() == 10
    assert choose_candidates(HAND, "independent") == [0, 0]


def test_best_first_is_not_the_best_sum() -> None:
    scores = np.array([[9.0, 8.0], [8.0, 1.0]])
    assert choose_candidates(scores, "greedy") == [0, 1]
    assert choose_candidates(scores, "assignment") == [1, 0]


def test_assignment_is_the_best_of_all_ways() -> None:
    for seed in range(20):
        scores = np.random.default_rng(seed).normal(size=(4, 6))
        best = max(sum(scores[range(4), list(way)]) for way in permutations(range(6), 4))
        assert scores[range(4), choose_candidates(scores, "assignment")].sum() == pytest.approx(best)


@pytest.mark.parametrize("decoding", ["assignment", "greedy"])
@pytest.mark.parametrize("shape", [(1, 7), (9, 10), (10, 10)])
def test_no_candidate_twice(decoding: str, shape: tuple[int, int]) -> None:
    for seed in range(10):
        scores = np.random.default_rng(seed).normal(size=shape)
        chosen = choose_candidates(scores, decoding)  # type: ignore[arg-type]
        assert len(set(chosen)) == shape[0]


@pytest.mark.parametrize("decoding", DECODINGS)
def test_more_blanks_than_candidates_still_answers_all(decoding: str) -> None:
    scores = np.random.default_rng(1).normal(size=(7, 3))
    chosen = choose_candidates(scores, decoding)  # type: ignore[arg-type]
    assert len(chosen) == 7 and set(chosen) <= {0, 1, 2}
    if decoding != "independent":
        assert max(chosen.count(one) for one in chosen) == 3  # 3 + 3 + 1


def test_a_constant_added_to_a_blank_changes_no_assignment() -> None:
    scores = np.random.default_rng(2).normal(size=(5, 10))
    moved = scores + np.arange(5)[:, None] * 10
    assert choose_candidates(scores, "assignment") == choose_candidates(moved, "assignment")
