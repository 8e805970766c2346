from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clue_runner.adapters.base import Scores
from clue_runner.config.schema import Run
from clue_runner.console import Console
from clue_runner.data.cards import find_card
from clue_runner.errors import CheckpointError, DataError, NotFiniteError
from clue_runner.training.members import newest_finished
from clue_runner.runs.progress import Progress
from clue_runner.commands.train import default_output, summarise, task_name
from clue_runner.runs.results import (
    base_metrics,
    failure_metrics,
    padding_share,
    score_metrics,
    seconds_spent,
    show_results,
)

CARD = find_card("afqmc")
# The contract of metrics.json, schema 1: readers of old files rely on every name.
FIELDS = {
    "schema", "ok", "task", "card_version", "model", "seed", "split", "metric", "score", "scores",
    "confidence_interval", "chance", "examples", "data_complete", "backend", "device", "precision", "epochs",
    "steps", "seconds", "examples_per_second", "padding_share", "peak_memory_bytes", "data_sha256",
    "config_sha256", "commit", "versions", "submission",
}  # fmt: skip


@pytest.fixture
def metrics(make_run: Callable[..., Run]) -> dict[str, Any]:
    scores = Scores("accuracy", {"accuracy": 74.1, "macro_f1": 70.0}, 69.0, (72.8, 75.4), 4316)
    progress = Progress(
        step=30, best_step=20, best_epoch=2, best_score=74.1, ended="epochs", history=[{"epoch": 3}]
    )
    base = base_metrics(make_run(), CARD, versions={"keras": "3"}, data_sha256={"train": "a"})
    return {**base, **score_metrics(scores, progress), "data_complete": True, "seconds": {"total": 65.0}}


def test_every_field_is_there_with_or_without_a_score(
    metrics: dict[str, Any], make_run: Callable[..., Run]
) -> None:
    assert set(metrics) >= FIELDS
    base = base_metrics(make_run(), CARD, versions={}, data_sha256={})
    failed = {**base, **failure_metrics(NotFiniteError("step 3"))}
    assert set(failed) >= FIELDS
    assert (failed["ok"], failed["score"], failed["error"]["exit_code"]) == (False, None, 6)
    json.dumps(failed, allow_nan=False)


def test_the_block_names_chance_and_published_scores_with_split_and_source(
    metrics: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    show_results(Console(), metrics, CARD, Path("runs/x"))
    text = capsys.readouterr().out
    assert "74.10   [72.8, 75.4] 95 %   chance 69.0" in text
    assert "BERT-base dev 74.16 (CLUE README)" in text
    assert "not comparable" not in text
    assert "no test file" in text
    show_results(Console(), {**metrics, "data_complete": False}, CARD, Path("runs/x"))
    assert "not comparable" in capsys.readouterr().out


def test_seconds_are_never_negative_and_always_six() -> None:
    progress = Progress(seconds={"train": 2.5, "evaluate": -0.001})
    assert seconds_spent(progress, 1.0, 4.0) == {
        "prepare": 1.0,
        "compile": 0.0,
        "train": 2.5,
        "evaluate": 0.0,
        "predict": 0.0,
        "total": 4.0,
    }


def test_padding_share() -> None:
    assert padding_share(Progress(real_tokens=75, computed_tokens=100)) == 0.25
    assert padding_share(Progress()) is None


def test_summary_of_seeds(metrics: dict[str, Any]) -> None:
    runs = [{**metrics, "seed": seed, "score": score} for seed, score in ((42, 70.0), (43, 72.0), (44, 74.0))]
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


def test_the_newest_finished_run_of_a_task(tmp_path: Path) -> None:
    def put(name: str, age: float, **metrics: Any) -> None:
        folder = tmp_path / name
        folder.mkdir(parents=True)
        (folder / "run.yaml").write_text("", encoding="utf-8")
        (folder / "metrics.json").write_text(json.dumps(metrics), encoding="utf-8")
        import os

        os.utime(folder / "metrics.json", (time.time() - age, time.time() - age))

    with pytest.raises(CheckpointError, match="clue train --task NAME"):
        newest_finished(tmp_path, None)
    put("afqmc/a", 50, ok=True, task="afqmc")
    put("afqmc/b", 30, ok=True, task="afqmc")
    put("afqmc/b.old-1", 20, ok=True, task="afqmc")
    put("afqmc/failed", 10, ok=False, task="afqmc")
    put("tnews/seeds/seed-1", 5, ok=True, task="tnews")
    (tmp_path / "junk").mkdir()
    (tmp_path / "junk" / "metrics.json").write_text("{", encoding="utf-8")
    assert newest_finished(tmp_path, "afqmc") == tmp_path / "afqmc" / "b"
    assert newest_finished(tmp_path, None) == tmp_path / "tnews" / "seeds" / "seed-1"
    with pytest.raises(CheckpointError, match="of cmnli"):
        newest_finished(tmp_path, "cmnli")


def test_failures_of_ours_are_exit_1() -> None:
    assert failure_metrics(KeyError("x"))["error"]["exit_code"] == 1
    assert failure_metrics(DataError("x"))["error"]["exit_code"] == 3
