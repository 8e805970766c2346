"""Memory that runs out in training: smaller micro-batches, the same result; batch sizes by memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clue_runner.training.snapshots import list_snapshots, read_snapshot

pytestmark = pytest.mark.faults
Train = Callable[..., Any]
NO_DROPOUT = {f"model__{name}": 0.0 for name in ("dropout", "attention_dropout", "head_dropout")}
# 16 rows of at most 8 tokens in an update; the first epoch's first update is tried whole
SMALL = {"train__epochs": 2, "train__batch_size": 16, "data__limit_train": 64, "train__save_steps": 100}


def engine_class(backend: str) -> type[Any]:
    """Return the engine that the runs of this process use."""
    from importlib import import_module

    module = import_module(f"clue_runner.training.engines.{backend}")
    kind: type[Any] = getattr(module, {"tensorflow": "TensorFlowEngine", "jax": "JaxEngine"}[backend])
    return kind


def backends_own_error(backend: str) -> Exception:
    """Return the exception that a backend raises where memory runs out."""
    from importlib import import_module

    if backend == "tensorflow":
        tensorflow = import_module("tensorflow")
        error: Exception = tensorflow.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")
        return error
    error = import_module("jax").errors.JaxRuntimeError(
        "RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes."
    )
    return error


@pytest.fixture
def tight(backend: str, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[int]]:
    """Let steps of more than so many tokens fail from an update on, with the state broken or not."""

    def patch(
        tokens: int, *, since: int = 0, error: Exception | None = None, broken: bool = False
    ) -> list[int]:
        kind = engine_class(backend)
        real, tried = kind.step, []

        def step(self: Any, update: Mapping[str, Any], *, update_index: int, learning_rate: float) -> Any:
            _, rows, length = update["token_ids"].shape
            tried.append(rows * length)
            if rows * length > tokens and update_index >= since:
                if broken:
                    monkeypatch.setattr(self, "applied", lambda: None, raising=False)
                raise error or backends_own_error(backend)
            return real(self, update, update_index=update_index, learning_rate=learning_rate)

        monkeypatch.setattr(kind, "step", step)
        return tried

    return patch


def history(folder: Path) -> list[Any]:
    found: list[Any] = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))["history"]
    return found


def last_weights(folder: Path) -> Mapping[str, np.ndarray[Any, Any]]:
    return read_snapshot(list_snapshots(folder / "checkpoints")[0]).tensors()


def assert_near(folder: Path, other: Path) -> None:
    """Losses and weights within 1e-6."""
    for one, two in zip(history(folder), history(other), strict=True):
        assert one["loss"] == pytest.approx(two["loss"], abs=1e-6)
    before, after = last_weights(other), last_weights(folder)
    for name, value in before.items():
        np.testing.assert_allclose(after[name], value, atol=1e-6, err_msg=name)


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory, command: Callable[..., Any]) -> Path:
    """A run that was split into four micro-batches from its beginning."""
    one = command(tmp_path_factory.mktemp("runs") / "split", **SMALL, **NO_DROPOUT, train__accumulate=4)
    one.finish()
    folder: Path = one.folder
    return folder


@pytest.mark.parametrize("how", ["at the first update", "later", "later, state lost"])
def test_an_update_that_does_not_fit_is_split(
    tmp_path: Path, train_here: Train, tight: Callable[..., list[int]], split: Path, how: str
) -> None:
    """The backend's own error: the split run's result, and a resumed run begins with the split."""
    tried = tight(
        32,
        since=0 if how == "at the first update" else 5,
        error=MemoryError("no room") if how == "later" else None,
        broken="lost" in how,
    )
    folder = tmp_path / "r"
    outcome = train_here(folder, **SMALL, **NO_DROPOUT)
    assert outcome.exit_code == 0, outcome.stderr
    assert outcome.stderr.count("out of memory at step") == 2
    assert "at most 32 tokens in a micro-batch" in outcome.stderr
    assert_near(folder, split)
    events = [json.loads(line) for line in (folder / "events.jsonl").read_bytes().split(b"\n")[:-1]]
    assert [event["token_budget"] for event in events if "token_budget" in event] == [64, 32]
    assert ("lost" in how) == any(event.get("reason") == "out of memory" for event in events)
    state = read_snapshot(list_snapshots(folder / "checkpoints")[0]).state
    assert state["progress"]["token_budget"] == 32
    (folder / "metrics.json").unlink()
    tried.clear()
    assert train_here(folder, **SMALL, **NO_DROPOUT).exit_code == 0


def test_one_example_that_does_not_fit(
    tmp_path: Path, train_here: Train, tight: Callable[..., list[int]]
) -> None:
    tight(0)
    outcome = train_here(tmp_path / "r", **SMALL)
    assert outcome.exit_code == 7
    assert "one example of 8 tokens at a time" in outcome.stderr
    assert "--set model.recompute=block" in outcome.stderr
    assert json.loads((tmp_path / "r" / "metrics.json").read_text(encoding="utf-8"))["ok"] is False


def test_an_evaluation_that_does_not_fit_takes_smaller_batches(
    tmp_path: Path, train_here: Train, backend: str, monkeypatch: pytest.MonkeyPatch, split: Path
) -> None:
    kind = engine_class(backend)
    real = kind.evaluate

    def evaluate(self: Any, batch: Mapping[str, Any], *, averaged: bool) -> Any:
        if batch["token_ids"].size > 64:
            raise backends_own_error(backend)
        return real(self, batch, averaged=averaged)

    monkeypatch.setattr(kind, "evaluate", evaluate)
    outcome = train_here(tmp_path / "r", **SMALL, **NO_DROPOUT)
    assert outcome.exit_code == 0, outcome.stderr
    assert "out of memory while answering dev" in outcome.stderr
    assert_near(tmp_path / "r", split)
    assert [one["score"] for one in history(tmp_path / "r")] == [one["score"] for one in history(split)]


def test_batch_size_auto_is_a_number_that_the_run_keeps(
    tmp_path: Path, train_here: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    from clue_runner.training import auto_batch

    folder, asked = tmp_path / "r", {**SMALL, "train__batch_size": "auto", "train__epochs": 1}
    outcome = train_here(folder, **asked)
    assert outcome.exit_code == 0, outcome.stderr
    assert "train.batch_size auto: 64 examples of 8 tokens at once need" in outcome.stdout
    assert "batch_size: 64" in (folder / "run.yaml").read_text(encoding="utf-8")
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    assert (metrics["batch_size"], metrics["steps"]) == (64, 1)
    # less memory is free now: the run keeps its number and is found to have ended
    monkeypatch.setattr(auto_batch, "free_bytes", lambda device: 1)
    outcome = train_here(folder, **asked)
    assert outcome.exit_code == 0
    assert "64 examples, with which this run began" in outcome.stdout
    assert "already ended" in outcome.stdout


LIMITED = """
import re, resource, sys
from pathlib import Path
from clue_runner.cli.main import run
from clue_runner.training.loop import Loop

def limited(self, real=Loop.run):
    data = int(re.search(r"VmData:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) * 1024
    resource.setrlimit(resource.RLIMIT_DATA, (data + 1200 * 2**20, resource.RLIM_INFINITY))
    real(self)

Loop.run = limited
sys.exit(run(sys.argv[1:]))
"""
# an update of 512 short rows needs over two gibibytes at once, for the inner layer alone; the weights are few
WIDE = {
    "train.epochs": 1,
    "train.batch_size": 512,
    "data.limit_train": 512,
    "data.limit_dev": 32,
    "data.max_length": 16,
    "data.cache": "false",
    "model.intermediate_dim": 16384,
    "train.precision": "float32",
    "train.lengths": "exact",
}


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux")
def test_a_real_limit(tmp_path: Path, backend: str, cache: Path) -> None:
    """JAX raises and goes on. TensorFlow may be ended by the system; the same command then goes on."""
    sets = [text for key, value in WIDE.items() for text in ("--set", f"{key}={value}")]
    asked = ["train", "--task", "afqmc", "--data", "sample", "--model", "test", "--device", "cpu", *sets]
    asked += ["--backend", backend, "--output", str(tmp_path / "r")]
    environment = {**os.environ, "KERAS_BACKEND": backend, "CLUE_HOME": str(cache)}
    options: dict[str, Any] = {"capture_output": True, "text": True, "env": environment, "check": False}
    outcome = subprocess.run([sys.executable, "-c", LIMITED, *asked], **options)
    if outcome.returncode == 0:
        assert "going on from step 0 with at most 4,096 tokens" in outcome.stderr
    else:
        assert backend == "tensorflow", outcome.stderr
        assert outcome.returncode == 7 or outcome.returncode < 0, outcome.stderr
        outcome = subprocess.run([sys.executable, "-m", "clue_runner", *asked], **options)
        assert outcome.returncode == 0, outcome.stderr
    assert len(history(tmp_path / "r")) == 1
