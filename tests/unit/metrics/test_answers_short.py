"""Exact and fuzzy score of short answers."""

from __future__ import annotations

import pytest

from clue_runner.metrics.answers_short import normalised, score_short_answers
from clue_runner.metrics.sogou import character_overlap


def test_character_f1_by_hand() -> None:
    assert character_overlap("北京市", "北京")[0] == pytest.approx(0.8)


def test_width_case_spaces_and_punctuation_do_not_count() -> None:
    assert normalised("《Ａｂ Ｃ》，") == "abc" and normalised("！？") == "!?"
    found = score_short_answers(["《红楼梦》", "北京市", "", "x"], [["红楼梦"], ["北京", "上海"], ["a"], []])
    assert found.exact.tolist() == [1, 0, 0, 0] and found.fuzzy.tolist() == pytest.approx([1, 0.8, 0, 0])
    assert found.values == pytest.approx({"exact": 25.0, "fuzzy": 45.0, "mean": 35.0})
    assert found.chance == 25.0
    low, high = found.interval("exact")
    assert low <= 25.0 <= high
