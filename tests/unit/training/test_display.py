"""The block of text at the end of a run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clue_runner.console import Console
from clue_runner.data.cards import find_card
from clue_runner.training.display import say_result

CARD = find_card("afqmc")


def test_the_block_names_chance_and_published_scores_with_split_and_source(
    make_result: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    say_result(Console(), make_result(), CARD, Path("runs/x"))
    text = capsys.readouterr().out
    assert "74.10   [72.80, 75.40] 95 %   chance 69.00" in text
    assert "BERT-base dev 74.16 (CLUE README)" in text
    assert "not comparable" not in text
    assert "no test file" in text
    say_result(Console(), make_result(data_complete=False), CARD, Path("runs/x"))
    text = capsys.readouterr().out
    assert "not comparable" in text
    assert "BERT-base" not in text  # a published score under a sample's invites to compare them


def test_the_block_names_what_can_be_sent(
    make_result: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    file = {"file": "submission/a.json", "split": "test", "lines": 3861, "ok": False, "problems": ["no id 7"]}
    written = {"files": [file], "ok": False, "zip": "submit-sample.zip", "note": "not for upload"}
    say_result(Console(), make_result(submission=written), CARD, Path("runs/x"))
    text = capsys.readouterr().out
    assert "runs/x/submission/a.json   3,861 lines, not accepted: no id 7" in text
    assert "runs/x/submit-sample.zip   not for upload" in text
