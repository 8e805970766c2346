"""How long a run will take: at the rates of an earlier run of the same network on the same device."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from clue_runner.adapters.sections import SECTIONS
from clue_runner.commands import expected_time as module
from clue_runner.commands.expected_time import expected_time
from clue_runner.config.schema import Run
from clue_runner.data.cards import find_card
from clue_runner.runs.folder import RunFolder, write_settings
from clue_runner.runs.results import write_result


@pytest.fixture
def setup_of(make_run: Callable[..., Run]) -> Callable[..., Any]:
    def make(*overrides: str, device: str = "cpu") -> Any:
        return SimpleNamespace(
            run=make_run(*overrides),
            card=find_card("afqmc"),
            rows={"train": range(1000), "dev": range(100), "test": range(50)},
            choices=SimpleNamespace(
                device=SimpleNamespace(kind=device), precision=SimpleNamespace(value="float32")
            ),
        )

    return make


@pytest.fixture
def earlier(
    tmp_path: Path,
    make_run: Callable[..., Run],
    make_result: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., Path]:
    """Leave a finished run with its rates."""

    def machine_of(folder: RunFolder) -> dict[str, Any]:
        here = module.machine("tensorflow")
        return {**here, "processor_model": "another"} if folder.path.name == "elsewhere" else here

    monkeypatch.setattr(module, "machine_of", machine_of)

    def leave(name: str, *overrides: str, ended: int = 0, **fields: Any) -> Path:
        folder = RunFolder(tmp_path / name)
        folder.path.mkdir()
        write_settings(folder, make_run(*overrides), SECTIONS)
        rates = {"train": 10.0, "evaluate": 50.0, "predict": 25.0}
        known = {"device": "CPU, 2 cores (tensorflow)", "precision": "float32", "examples_per_second": rates}
        write_result(folder.metrics, make_result(**{**known, **fields}))
        os.utime(folder.metrics, (ended, ended))
        return folder.path

    return leave


def test_the_rates_of_the_last_run_of_the_same_network(
    earlier: Callable[..., Path], setup_of: Callable[..., Any], tmp_path: Path
) -> None:
    setup = setup_of("train.epochs=2", "train.batch_size=100", "seed=7")
    assert expected_time(setup, 20, 10, tmp_path) is None
    used = earlier("used", ended=1, examples_per_second={"train": 20.0, "evaluate": 100.0, "predict": None})
    earlier("wider", "model.hidden_dim=64", ended=2)
    earlier("longer", "data.max_length=32", ended=3)
    earlier("gpu", ended=4, device="NVIDIA H100 (gpu:0, jax)")
    earlier("elsewhere", ended=7)
    earlier("short", ended=5, examples_per_second={"train": 20.0, "evaluate": None, "predict": None})
    (earlier("damaged", ended=6) / "run.yaml").write_text("seed: [", encoding="utf-8")
    found = expected_time(setup, 20, 10, tmp_path)
    assert found is not None
    assert found.run == used
    # 2,000 examples, two evaluations of 100, 50 predictions
    assert found.seconds == pytest.approx(2000 / 20 + 200 / 100 + 50 / 100)
    other = expected_time(setup_of(device="gpu"), 20, 10, tmp_path)
    assert other is not None
    assert other.run.name == "gpu"
