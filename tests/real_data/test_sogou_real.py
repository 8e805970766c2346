"""The SogouQA scorer against the tool's own sample: every column of every line."""

from __future__ import annotations

from pathlib import Path

import pytest

from clue_runner.metrics.sogou import read_gold, score_answers

pytestmark = pytest.mark.real_data


def lines(path: Path) -> list[str]:
    return [line for line in path.read_text(encoding="utf-8").split("\n") if line]


def test_the_tools_sample(real_data: Path) -> None:
    folder = real_data / "dgcnn" / "sogou_scoring"
    gold = read_gold(folder)
    answers = [(line.split("\t")[0], line.split("\t")[1]) for line in lines(folder / "test_input")]
    scores, scored = score_answers(answers, gold)
    assert scores == {"exact": 100.0, "fuzzy": pytest.approx(100.0), "mean": pytest.approx(100.0)}
    written = [score.line(*answer) for score, answer in zip(scored, answers, strict=True)]
    assert written == lines(folder / "test_out")

    cut, _ = score_answers([(question, answer[:-1]) for question, answer in answers], gold)
    assert cut["exact"] == pytest.approx(34.9125, abs=1e-4)
    assert cut["fuzzy"] == pytest.approx(83.6785, abs=1e-4)
    assert cut["mean"] == pytest.approx(59.2955, abs=1e-4)
