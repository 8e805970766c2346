"""Memory that runs out in training: smaller micro-batches, the same result; batch sizes by memory."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clue_runner.runs.snapshots import list_snapshots
from clue_runner.runs.states import read_snapshot

pytestmark = pytest.mark.faults
Train = Callable[..., Any]
NO_DROPOUT = {f"model__{name}": 0.0 for name in ("dropout", "attention_dropout", "head_dropout")}
# 16 rows of at most 8 tokens in an update; the first epoch's first update is tried whole
SMALL = {"train__epochs": 2, "train__batch_size": 16, "data__limit_train": 64, "train__save_steps": 100}


def engine_class(backend: str) -> type[Any]:
    """Return the engine that the runs of this process use."""
    from importlib import import_module

    module = import_module(f"clue_runner.engines.{backend}")
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


def lose_state(engine: Any, backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Do what a failed step can do on JAX; TensorFlow's variables outlive it, so there it is only said."""
    if backend == "jax":
        next(iter(engine.state["weights"].values())).delete()
    else:
        monkeypatch.setattr(engine, "applied", lambda: None)


@pytest.fixture
def tight(backend: str, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[int]]:
    """Let steps of more than so many tokens fail from an update on; return the tokens that are tried.

    ``broken``: the state is lost with them. ``then``: what happens once before the update of an index.
    """

    def patch(
        tokens: int,
        *,
        since: int = 0,
        broken: bool = False,
        then: dict[int, Callable[[], None]] | None = None,
    ) -> list[int]:
        kind = engine_class(backend)
        real, tried = kind.step, []

        def step(self: Any, update: Mapping[str, Any], *, update_index: int, learning_rate: float) -> Any:
            _, rows, length = update["token_ids"].shape
            tried.append(rows * length)
            if rows * length > tokens and update_index >= since:
                if broken:
                    lose_state(self, backend, monkeypatch)
                raise backends_own_error(backend)
            if then and update_index in then:
                then.pop(update_index)()
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


@pytest.fixture
def split(tmp_path_factory: pytest.TempPathFactory, train_here: Train) -> Path:
    """A run that was split into four micro-batches from its beginning, made once."""
    folder = tmp_path_factory.getbasetemp() / "split into four"
    if not folder.exists():
        outcome = train_here(folder, **SMALL, **NO_DROPOUT, train__accumulate=4)
        assert outcome.exit_code == 0, outcome.stderr
    return folder


def notes(folder: Path) -> list[Any]:
    return [json.loads(line) for line in (folder / "events.jsonl").read_bytes().split(b"\n")[:-1]]


def budgets(folder: Path) -> list[int]:
    return [event["token_budget"] for event in notes(folder) if "token_budget" in event]


def last_progress(folder: Path) -> Any:
    return read_snapshot(list_snapshots(folder / "checkpoints")[0]).state.progress.to_json()


@pytest.mark.parametrize(
    ("since", "again_from"),
    [(0, None), (5, 4)],
    ids=["state whole", "state lost"],
)
def test_an_update_that_does_not_fit_is_split(
    tmp_path: Path,
    train_here: Train,
    tight: Callable[..., list[int]],
    split: Path,
    since: int,
    again_from: int,
) -> None:
    """The backend's own error at an update: it ends with the result of a run that was split throughout."""
    tight(32, since=since, broken=again_from is not None)
    folder = tmp_path / "r"
    outcome = train_here(folder, **SMALL, **NO_DROPOUT)
    assert outcome.exit_code == 0, outcome.stderr
    assert outcome.stderr.count("out of memory at step") == 2
    assert "at most 32 tokens in a micro-batch" in outcome.stderr
    assert_near(folder, split)
    assert budgets(folder) == [64, 32]
    again = [event["step"] for event in notes(folder) if event.get("reason") == "out of memory"]
    assert again == ([] if again_from is None else [again_from] * 2)
    assert last_progress(folder)["token_budget"] == 32


def die() -> None:
    """Leave as a kill does: nothing is saved, no failure is noted."""
    raise SystemExit(137)


@pytest.mark.parametrize(
    ("stop", "code", "saved"),
    [(lambda: signal.raise_signal(signal.SIGTERM), 143, 3), (die, 137, 0)],
    ids=["stopped", "killed before the first save"],
)
def test_a_run_that_goes_on_begins_with_the_split(
    tmp_path: Path,
    train_here: Train,
    tight: Callable[..., list[int]],
    stop: Callable[[], None],
    code: int,
    saved: int,
) -> None:
    tried, folder = tight(32, then={2: stop}), tmp_path / "r"
    settings = {**SMALL, "train__epochs": 1}
    assert train_here(folder, **settings).exit_code == code
    assert max(tried) > 32
    tried.clear()
    outcome = train_here(folder, **settings)
    assert outcome.exit_code == 0, outcome.stderr
    assert [event["step"] for event in notes(folder) if event["event"] == "resume"] == [saved]
    assert len(tried) == 4 - saved
    assert max(tried) <= 32


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
    from clue_runner.memory import batch_size as auto_batch

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
    assert "already finished" in outcome.stdout


LIMITED = """
import re, resource, sys
from pathlib import Path
from clue_runner.cli.main import run
from clue_runner.training.loop import Loop

def limited(self, real=Loop.run):
    data = int(re.search(r"VmData:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) * 1024
    resource.setrlimit(resource.RLIMIT_DATA, (data + 800 * 2**20, resource.RLIM_INFINITY))
    real(self)

Loop.run = limited
sys.exit(run(sys.argv[1:]))
"""
# an update of 256 short rows needs over a gibibyte at once, for the inner layer alone; the weights are few
WIDE = {
    "train.epochs": 1,
    "train.batch_size": 256,
    "data.limit_train": 256,
    "data.limit_dev": 32,
    "data.max_length": 16,
    "data.cache": "false",
    "model.intermediate_dim": 16384,
    "train.precision": "float32",
    "train.lengths": "exact",
}


# Where the system refuses, TensorFlow's usual allocator on a CPU aborts the process as often as it says so;
# the allocator that it has for GPUs takes a limit of its own and always says so.
OWN_LIMIT = {"TF_CPU_ALLOCATOR_USE_BFC": "true", "TF_CPU_BFC_MEM_LIMIT_IN_MB": "900"}
# one operator after the other, as in the other tests, holds less at once
OWN_LIMIT |= {"TF_NUM_INTRAOP_THREADS": "0", "TF_NUM_INTEROP_THREADS": "0"}


def test_training_goes_on_under_a_real_limit(tmp_path: Path, backend: str, cache: Path) -> None:
    """An allocator's own refusal, no stand-in: at the system's limit with JAX, at its own with TensorFlow."""
    if not Path("/proc/self/status").exists():
        pytest.skip("needs Linux")
    sets = [text for key, value in WIDE.items() for text in ("--set", f"{key}={value}")]
    program = ["-c", LIMITED] if backend == "jax" else ["-m", "clue_runner"]
    arguments = ["train", "--task", "afqmc", "--data", "sample", "--model", "test", "--device", "cpu", *sets]
    arguments += ["--backend", backend, "--output", str(tmp_path)]
    outcome = subprocess.run(
        [sys.executable, *program, *arguments],
        env={**os.environ, **OWN_LIMIT, "KERAS_BACKEND": backend, "CLUE_HOME": str(cache)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert outcome.returncode == 0, outcome.stderr
    assert "continuing from step 0 with at most 2,048 tokens" in outcome.stderr
    progress = last_progress(tmp_path)
    assert (progress["step"], progress["examples"]) == (1, 256)
    assert progress["token_budget"] == budgets(tmp_path)[-1] <= 2048
