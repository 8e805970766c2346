"""What ``clue train`` makes of its options, and the summary of several seeds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clue_runner.commands.train import TrainRequest, default_output, fulfil, summarise, task_name
from clue_runner.config.schema import Run
from clue_runner.console import Console
from clue_runner.data.cards import find_card
from clue_runner.data.locate import locate
from clue_runner.data.sources import FolderSource
from clue_runner.errors import NotFiniteError

CARD = find_card("afqmc")


def test_summary_of_seeds(make_result: Callable[..., Any]) -> None:
    runs = [make_result(seed=seed, score=score) for seed, score in ((42, 70.0), (43, 72.0), (44, 74.0))]
    summary = summarise(runs)
    assert (summary["mean"], summary["std"], summary["seeds"]) == (72.0, 2.0, [42, 43, 44])
    assert summarise(runs[:1])["std"] == 0.0


def test_default_folders(make_run: Callable[..., Run]) -> None:
    run = make_run()
    sample, folder = locate(CARD, "sample"), FolderSource("data", {})
    one, several = TrainRequest(task="afqmc"), TrainRequest(task="afqmc", seeds=3)
    assert default_output(one, CARD, run, folder) == Path("runs/afqmc/test-42")
    assert default_output(one, CARD, run, sample) == Path("runs/afqmc/test-42-sample")
    assert default_output(several, CARD, run, folder) == Path("runs/afqmc/test")
    named = TrainRequest(task="afqmc", name="first")
    assert default_output(named, CARD, run, sample) == Path("runs/afqmc/first")
    assert task_name(CARD) == "afqmc"
    own = CARD.model_copy(update={"folder": Path("/somewhere/afqmc")})
    assert task_name(own) == "/somewhere/afqmc"


def test_one_seed_of_several_that_fails_ends_the_command_and_is_made_up_for_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_result: Callable[..., Any]
) -> None:
    """No mean over the seeds that happened to work; the same command again does the others."""
    asked: list[int] = []
    broken = {43}

    def train_one(run: Run, card: Any, source: Any, folder: Path, console: Any, **_: Any) -> Any:
        asked.append(run.seed)
        assert folder == tmp_path / "runs" / f"seed-{run.seed}"
        if run.seed in broken:
            raise NotFiniteError("the loss is not a number", where=f"{folder}, step 7")
        folder.mkdir(parents=True, exist_ok=True)
        return make_result(seed=run.seed, score=float(run.seed))

    monkeypatch.setattr("clue_runner.commands.train.train_run", train_one)
    request = TrainRequest(
        task="afqmc",
        model="test",
        data="sample",
        seeds=3,
        output=tmp_path / "runs",
        set=("train.batch_size=4",),
    )
    with pytest.raises(NotFiniteError, match="seed-43, step 7") as caught:
        fulfil(request, Console(quiet=True))
    assert caught.value.exit_code == 6
    assert asked == [42, 43] and not (tmp_path / "runs" / "summary.json").exists()
    broken.clear()
    summary = fulfil(request, Console(quiet=True))
    assert asked == [42, 43, 42, 43, 44] and summary["values"] == [42.0, 43.0, 44.0]
    assert (tmp_path / "runs" / "summary.json").exists()
