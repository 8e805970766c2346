"""The name of an item: another one for everything that its result follows from, the same for all else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from clue_runner.config.schema import Run
from clue_runner.runs.identity import Identity
from clue_runner.suites.items import item_facts, item_id

IDENTITY = Identity(data={"train": "a", "dev": "b"}, vocabulary="v", weights="w", card={"labels": ["0"]})


def name(run: Run, identity: Identity = IDENTITY, code: str = "1+a", precision: str = "float32") -> str:
    return item_id(item_facts(run, "afqmc", identity, code=code, precision=precision))


@pytest.mark.parametrize(
    "setting",
    [
        "seed=7",
        "train.learning_rate=1e-4",
        "train.batch_size=4",
        "data.limit_train=9",
        "data.fold=0/5",
        "model.num_layers=1",
        "backend=jax",
        "output.probabilities=false",
    ],
)
def test_every_setting_that_decides_makes_another_item(make_run: Callable[..., Run], setting: str) -> None:
    assert name(make_run(setting)) != name(make_run())


@pytest.mark.parametrize(
    "setting", ["device=cpu", "train.save_minutes=1", "train.save_steps=3", "output.keep_checkpoints=5"]
)
def test_what_decides_nothing_makes_none(make_run: Callable[..., Run], setting: str) -> None:
    assert name(make_run(setting)) == name(make_run())


@pytest.mark.parametrize(
    "changed",
    [
        {"data": {"train": "A", "dev": "b"}},
        {"data": {"train": "a", "dev": "B"}},
        {"vocabulary": "V"},
        {"weights": "W"},
        {"card": {"labels": ["1"]}},
    ],
)
def test_bytes_make_another_item(make_run: Callable[..., Run], changed: dict[str, Any]) -> None:
    assert name(make_run(), IDENTITY.model_copy(update=changed)) != name(make_run())


def test_program_and_precision_make_another_item(make_run: Callable[..., Run]) -> None:
    run = make_run()
    names = {name(run), name(run, code="1+b"), name(run, precision="bfloat16")}
    assert len(names) == 3


def test_a_path_is_no_content(make_run: Callable[..., Run]) -> None:
    """The same weights in another folder, and ``precision: auto`` that came to the same, are the same run."""
    run = make_run()
    moved = run.model_copy(update={"model": run.model.model_copy(update={"checkpoint": "/elsewhere"})})
    assert name(moved) == name(run)
    asked = run.model_copy(update={"train": run.train.model_copy(update={"precision": "float32"})})
    assert name(asked) == name(run)
