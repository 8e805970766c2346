"""Stand-ins for an engine, batches and a terminal, exact and fast."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from clue_runner.adapters.sections import load_run
from clue_runner.config.schema import Run
from clue_runner.engines.base import State, StepResult


class FakeEngine:
    """Weights that remember every update in order: one update more, less or elsewhere changes them."""

    def __init__(self) -> None:
        self.compilations = 0
        self.weights = np.zeros(3, np.float64)
        self.moments = np.zeros(3, np.float64)
        self.not_finite_at: int | None = None
        self.fail_at: dict[int, Exception] = {}
        self.unread = 0
        self.most_unread = 0
        self.updates = 0

    def init(self, build: Callable[[], Any], settings: Any) -> None:
        self.settings = settings

    def step(
        self, update: Mapping[str, Any], *, update_index: int, learning_rate: float
    ) -> Callable[[], StepResult]:
        assert "row" not in update
        if update_index in self.fail_at:
            raise self.fail_at[update_index]
        if update_index == 0:
            self.compilations += 1
        finite = update_index != self.not_finite_at
        loss = 1.0 / (1 + update_index) if finite else float("nan")
        if finite:
            gradient = np.array([update_index, update["token_ids"].sum(), 1.0])
            self.moments = 0.9 * self.moments + gradient
            self.weights = np.sin(self.weights - learning_rate * self.moments)
            self.updates += 1
        self.unread += 1
        self.most_unread = max(self.most_unread, self.unread)

        def read() -> StepResult:
            self.unread -= 1
            return StepResult(loss, float(update["weight"].sum()), 0.5, finite)

        return read

    def evaluate(self, batch: Mapping[str, Any], *, averaged: bool) -> Mapping[str, Any]:
        return {"logits": np.zeros((len(batch["lengths"]), 2), np.float32)}

    def applied(self) -> int | None:
        return self.updates

    def room(self) -> State:
        return {name: np.empty_like(value) for name, value in self.get_state().items()}

    def get_state(self, into: State | None = None) -> State:
        state = {
            "backbone/w": self.weights.copy(),
            "optimizer/momentum/w": self.moments.copy(),
            "optimizer/step": np.array(self.updates),
        }
        for name, values in (into or {}).items():
            np.copyto(values, state[name])
        return into or state

    def set_state(self, state: State) -> None:
        self.updates = int(state["optimizer/step"])
        self.weights = state["backbone/w"].copy()
        self.moments = state["optimizer/momentum/w"].copy()

    def get_weights(self, *, averaged: bool) -> State:
        return {"backbone/w": self.weights.copy()}

    def set_weights(self, weights: State) -> None:
        self.weights = weights["backbone/w"].copy()


class FakeBatches:
    """Epochs of ``length`` updates; an epoch's arrays depend on it."""

    def __init__(self, length: int = 4) -> None:
        self.length = length

    def plan(self, epoch: int) -> Sequence[Any]:
        return [np.array([number, number + 1]) for number in range(self.length)]

    def arrays(self, epoch: int, indices: Any, token_budget: int | None = None) -> Mapping[str, Any]:
        return {
            "token_ids": np.full((1, 2, 4), 100 * epoch + int(indices[0]), np.int32),
            "lengths": np.array([[3, 2]], np.int32),
            "weight": np.ones((1, 2), np.float32),
        }


@dataclass
class FakeScores:
    """Scores as the loop sees them."""

    score: float
    values: Mapping[str, float] = field(default_factory=dict)


class RecordingConsole:
    """Keeps what was said."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.warned: list[str] = []
        self.events: list[Mapping[str, Any]] = []

    def say(self, text: str = "") -> None:
        self.said.append(text)

    def warn(self, text: str) -> None:
        self.warned.append(text)

    def event(self, event: Mapping[str, Any]) -> None:
        self.events.append(event)


@pytest.fixture
def fake() -> SimpleNamespace:
    """The stand-ins by short names."""
    return SimpleNamespace(
        Engine=FakeEngine, Batches=FakeBatches, Scores=FakeScores, Console=RecordingConsole
    )


@pytest.fixture
def make_run() -> Callable[..., Run]:
    """Settings of a small run; overrides as ``--set`` takes them."""

    def make(*overrides: str) -> Run:
        return load_run(
            task="afqmc",
            card_settings={"data": {"max_length": 16}},
            model="test",
            overrides=["data.cache=false", *overrides],
        )

    return make


@pytest.fixture
def make_result(make_run: Callable[..., Run]) -> Callable[..., Any]:
    """The result of a finished run of afqmc; fields as ``metrics.json`` names them."""
    from clue_runner.runs.identity import Identity
    from clue_runner.runs.results import RunResult, run_fields

    def make(**fields: Any) -> RunResult:
        known = run_fields(
            make_run(),
            task="afqmc",
            card_version="1.0",
            metric="accuracy",
            identity=Identity(data={"train": "a", "dev": "b"}, vocabulary="v", weights="random"),
            data_sha256={"train": "a", "dev": "b"},
            versions={"keras": "3"},
            commit=None,
        )
        scored = {
            "ok": True,
            "score": 74.1,
            "scores": {"accuracy": 74.1, "macro_f1": 70.0},
            "confidence_interval": [72.8, 75.4],
            "chance": 69.0,
            "examples": 4316,
            "data_complete": True,
            "steps": 30,
            "best_step": 20,
            "best_epoch": 2,
            "seconds": {"total": 65.0},
        }
        return RunResult.model_validate({**known, **scored, **fields})

    return make


@pytest.fixture
def make_state() -> Callable[..., Any]:
    """The content of a ``state.json``; fields of progress by name."""
    from clue_runner.runs.identity import Identity
    from clue_runner.runs.progress import Progress
    from clue_runner.runs.states import SavedState

    def make(step: int = 3, **progress: Any) -> SavedState:
        return SavedState(
            progress=Progress(step=step, **progress),
            identity=Identity(
                data={"train": "a", "dev": "b"},
                vocabulary="v",
                weights="w",
                card={
                    "version": "1",
                    "adapter": "classification",
                    "labels": ["0", "1"],
                    "metric": "accuracy",
                },
            ),
        )

    return make


@pytest.fixture
def tensors() -> dict[str, Any]:
    """A small state of an engine."""
    return {
        "backbone/w": np.arange(6, dtype=np.float32).reshape(2, 3),
        "optimizer/momentum/backbone/w": np.ones((2, 3), np.float32),
        "optimizer/step": np.array(3),
        "ema/backbone/w": np.zeros((2, 3), np.float32),
    }


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A run's folder of saved states."""
    return tmp_path / "checkpoints"
