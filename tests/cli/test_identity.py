"""A run is its settings, its data and the weights that it began from: what differs is refused and named."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

BACKEND = os.environ.get("KERAS_BACKEND", "tensorflow")
SMALL = ("--data", "sample", "--backend", BACKEND, "--set", "data.max_length=8", "--set", "train.max_steps=2")
SMALL += ("--set", "data.limit_train=32", "--set", "data.limit_dev=16", "--set", "train.precision=float32")
SMALL += ("--set", "model.num_layers=1")
Clue = Callable[..., Any]


@pytest.fixture
def train(clue: Clue, tmp_path: Path) -> Clue:
    def call(model: Path | str, *arguments: str, output: str = "run") -> Any:
        place = ("--output", tmp_path / output)
        return clue("train", "--task", "afqmc", "--model", model, *SMALL, *place, *arguments)

    return call


def test_other_weights_under_the_same_path_are_refused(train: Clue, tmp_path: Path) -> None:
    """Finished or not; ``--fresh`` and another folder are the ways out."""
    for seed in ("1", "2"):
        assert train("test", "--seed", seed, output=f"weights-{seed}").exit_code == 0
    first, second = (next((tmp_path / f"weights-{seed}" / "checkpoints").glob("step-*")) for seed in (1, 2))
    model = Path(shutil.copytree(first, tmp_path / "model"))
    (model / "manifest.json").unlink()  # with it, other weights are not the file that it lists
    assert train(model).exit_code == 0
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["checkpoint"]["path"] == str(model)
    assert metrics["checkpoint"]["sha256"] == metrics["identity"]["weights"]
    assert len(metrics["checkpoint"]["sha256"]) == 64

    shutil.copy(second / "weights.safetensors", model / "weights.safetensors")
    for finished in (True, False):
        assert train(model, "--dry-run").exit_code == 4
        assert train(model, "--dry-run", "--fresh").exit_code == 0
        outcome = train(model)
        assert outcome.exit_code == 4, finished
        assert "model.checkpoint: the pre-trained weights have changed" in outcome.stderr
        assert metrics["checkpoint"]["sha256"][:12] in outcome.stderr
        assert "--output" in outcome.stderr and "--fresh" in outcome.stderr
        (tmp_path / "run" / "metrics.json").unlink(missing_ok=True)

    assert train(model, "--fresh").exit_code == 0
    again = json.loads((tmp_path / "run" / "metrics.json").read_text(encoding="utf-8"))
    assert again["checkpoint"]["sha256"] != metrics["checkpoint"]["sha256"]
    assert (tmp_path / "run.old-1" / "run.yaml").exists()
