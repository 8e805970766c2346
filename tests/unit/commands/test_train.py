"""What ``clue train`` makes of its options, and the summary of several seeds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from clue_runner.commands.train import default_output, summarise, task_name
from clue_runner.config.schema import Run
from clue_runner.data.cards import find_card

CARD = find_card("afqmc")


def test_summary_of_seeds(make_result: Callable[..., Any]) -> None:
    runs = [make_result(seed=seed, score=score) for seed, score in ((42, 70.0), (43, 72.0), (44, 74.0))]
    summary = summarise(runs)
    assert (summary["mean"], summary["std"], summary["seeds"]) == (72.0, 2.0, [42, 43, 44])
    assert summarise(runs[:1])["std"] == 0.0


def test_default_folders(make_run: Callable[..., Run]) -> None:
    run = make_run()
    assert default_output(CARD, run, several=False) == Path("runs/afqmc/test-42")
    assert default_output(CARD, run, several=True) == Path("runs/afqmc/test")
    assert task_name(CARD) == "afqmc"
    own = CARD.model_copy(update={"folder": Path("/somewhere/afqmc")})
    assert task_name(own) == "/somewhere/afqmc"
