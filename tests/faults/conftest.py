"""What the fault tests share: the backend under test, the command line, the resume script's assertions."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "check_resume.py"
# Small enough that one sitting is mostly the start of the process.
SETTINGS = {
    "model.num_layers": 1,
    "train.epochs": 3,
    "train.save_steps": 3,
    "train.ema": 0.9,
    "train.precision": "float32",
    "data.limit_train": 160,
    "data.limit_dev": 32,
    "data.max_length": 8,
}


@pytest.fixture(scope="session")
def backend() -> str:
    """The backend that this pytest process tests."""
    return os.environ.get("KERAS_BACKEND", "tensorflow")


@pytest.fixture(scope="session")
def check_resume() -> ModuleType:
    """``scripts/check_resume.py`` as a module."""
    spec = importlib.util.spec_from_file_location("check_resume", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["check_resume"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compiled programs and encoded rows that all runs of these tests share."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def command(check_resume: ModuleType, backend: str, cache: Path) -> Callable[..., object]:
    """Make a ``clue train`` command line for a folder."""

    def make(folder: Path, **settings: object) -> object:
        changed = {key.replace("__", "."): value for key, value in settings.items()}
        return check_resume.Command(folder, backend, cache, {**SETTINGS, **changed})

    return make


@pytest.fixture
def train_here(clue: Callable[..., object], backend: str, cache: Path) -> Iterator[Callable[..., object]]:
    """Run the same command in this process."""

    def call(folder: Path, *arguments: str, **settings: object) -> object:
        changed = {key.replace("__", "."): value for key, value in settings.items()}
        sets = [
            text for key, value in {**SETTINGS, **changed}.items() for text in ("--set", f"{key}={value}")
        ]
        return clue(
            *("train", "--task", "afqmc", "--data", "sample", "--model", "test", "--backend", backend),
            *("--output", folder, *sets, *arguments),
        )

    yield call
