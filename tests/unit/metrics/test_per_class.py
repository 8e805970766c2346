from __future__ import annotations

import pytest

from clue_runner.metrics.per_class import class_scores, macro_f1


def test_hand_case() -> None:
    gold = ["a", "a", "a", "b", "b", "c"]
    predicted = ["a", "a", "b", "b", "a", "a"]
    a, b, c, d = class_scores(gold, predicted, ["a", "b", "c", "d"])
    assert (a.precision, a.recall, a.support) == (pytest.approx(50.0), pytest.approx(200 / 3), 3)
    assert a.f1 == pytest.approx(400 / 7)
    assert (b.precision, b.recall, b.f1) == (50.0, 50.0, 50.0)
    assert (c.precision, c.recall, c.f1, c.support) == (0.0, 0.0, 0.0, 1)
    assert (d.f1, d.support) == (0.0, 0)


def test_macro_f1_leaves_out_labels_that_gold_does_not_have() -> None:
    rows = class_scores(["a", "b"], ["a", "b"], ["a", "b", "c"])
    assert macro_f1(rows) == 100.0
