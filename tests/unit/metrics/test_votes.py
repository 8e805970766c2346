"""Candidates of a passage and the vote over passages."""

from __future__ import annotations

import numpy as np
import pytest

from clue_runner.metrics.votes import Evidence, candidate_spans, vote, vote_of


def test_the_vote_by_hand() -> None:
    assert vote_of([0.7]) == pytest.approx(0.288235, abs=1e-6)
    assert vote_of([0.2] * 4) == pytest.approx(0.088889, abs=1e-6)
    assert vote_of([0.2] * 4, "sum") == pytest.approx(0.8) and vote_of([0.2, 0.3], "max") == 0.3
    assert vote_of([], "max") == vote_of([]) == 0.0


@pytest.mark.parametrize(("rule", "winner"), [("squares", "甲"), ("sum", "乙"), ("max", "甲")])
def test_weak_passages_do_not_outvote_a_sure_one(rule: str, winner: str) -> None:
    texts = ["甲", "乙", "乙", "乙", "乙"]
    spans = {number: ((0, 1, 0.7 if number == 0 else 0.2),) for number in range(5)}
    assert vote(texts, spans, rule)[0].text == winner  # type: ignore[arg-type]


def test_candidates_need_both_ends_above_the_threshold_and_near_each_other() -> None:
    start, end = np.zeros(20), np.zeros(20)
    start[[2, 10]] = 0.5, 0.1
    end[[1, 2, 13, 14]] = 0.9, 0.4, 0.8, 0.6
    assert candidate_spans(start, end, threshold=0.1, longest=12) == ((2, 3, 0.2), (2, 14, 0.4))
    assert candidate_spans(start, end, threshold=0.5, longest=12) == ()


def test_one_passage_votes_once_with_its_best_place() -> None:
    found = vote(["北京和北京", "北京"], {0: ((0, 2, 0.3), (3, 5, 0.6)), 1: ((0, 2, 0.5),)})
    assert found[0].vote == pytest.approx((0.36 + 0.25) / 2.1)
    assert found[0].evidence == (Evidence(0, 3, 5, 0.6), Evidence(1, 0, 2, 0.5), Evidence(0, 0, 2, 0.3))


def test_no_passage_gives_no_answer() -> None:
    assert vote([], {}) == [] and vote(["甲"], {0: ()}) == []
