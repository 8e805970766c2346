"""The linear baseline's features by hand, and that it learns what is to be learnt."""

from __future__ import annotations

import pytest

from clue_runner.commands.baselines.linear import LinearModel, overlap


def test_overlap_by_hand() -> None:
    found = overlap("abc", "abd")  # 1-grams: 2 of 4; 2-grams: ab of ab, bc, bd; no 3-gram
    assert found == pytest.approx([2 / 4, 2 / 3, 1 / 3, 1 / 2, 0, 0, 1.0, 0.0])
    assert overlap("ab", "ab") == [1, 1, 1, 1, 0, 0, 1, 1]
    assert overlap("", "") == [0, 0, 0, 0, 0, 0, 0, 1]


def test_single_texts_and_pairs_are_told_apart() -> None:
    texts = [(word * 3,) for word in ("足球比赛", "股票基金")] * 10
    model = LinearModel()
    model.fit(texts, ["sport", "money"] * 10)
    assert model.predict([("足球",), ("基金",)]) == ["sport", "money"]
    pairs = [(f"句子{n}甲乙", f"句子{n}甲乙" if n % 2 else f"别的{n + 7}丙丁") for n in range(40)]
    model = LinearModel()
    model.fit(pairs, [str(n % 2) for n in range(40)])
    assert model.predict([("新的话题", "新的话题"), ("新的话题", "毫无关系")]) == ["1", "0"]
