"""Fixtures for all tests: the official data where it is at hand, a home of its own, command lines."""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.graphs import leave_graphs_as_written
from support.xla import fast_flags

if TYPE_CHECKING:
    from clue_runner.tokens.tokenizer import Tokenizer

# What loads a backend runs once for each; everything else runs in the first pass alone.
LOADS_A_BACKEND = ("unit/models", "unit/training", "unit/engines", "unit/memory", "unit/architectures")
LOADS_A_BACKEND += ("contracts/test_new_architecture", "unit/test_api", "faults", "peer")
LOADS_A_BACKEND += (
    "cli/test_train",
    "cli/test_entity_task",
    "cli/test_generate",
    "cli/test_pretrain",
    "unit/probe",
)
# Files beside these whose tests read and write plain arrays and text, or whose faults strike outside the
# backend (files, streams, signals between two steps): one pass shows all.
LOADS_NONE = ("faults/test_data_paths", "unit/architectures/test_check_ids", "unit/engines/test_gpus")
LOADS_NONE += ("faults/test_failures", "faults/test_streams")
LOADS_NONE += tuple(
    f"unit/training/test_{name}"
    for name in ("answers", "display", "job", "members", "out_of_memory", "run_display", "schedules")
)

# Compiled steps are kept between tests and the processes they start; JAX's key holds program and version.
_COMPILED = Path(__file__).parents[1] / ".pytest_cache" / "compiled"
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(_COMPILED))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("XLA_FLAGS", fast_flags(os.environ.get("KERAS_BACKEND", "tensorflow")))
# The networks are smaller than what waking a second thread costs, and the other worker has use for its core.
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")

# A shell ignores Ctrl-C for what it starts in the background, and children inherit that; the tests send it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of both passes by where they stand."""
    root = Path(__file__).parent
    for item in items:
        name = item.path.relative_to(root).as_posix()
        if name.startswith(LOADS_A_BACKEND) and not name.startswith(LOADS_NONE):
            item.add_marker(pytest.mark.backend)
    # what takes long first, so that no worker is left with it at the end (the sort keeps a file together)
    items.sort(key=lambda item: "backend" not in item.keywords)


@pytest.fixture(scope="session")
def _graphs_as_written() -> None:
    leave_graphs_as_written()
    gc.freeze()  # a backend's modules are a million objects, and tracing makes the collector walk them often


@pytest.fixture(autouse=True)
def _quick_graphs(request: pytest.FixtureRequest) -> None:
    """Compute as ``support.graphs`` says where a backend is loaded anyway."""
    if "backend" in request.node.keywords:
        request.getfixturevalue("_graphs_as_written")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of the official files; the test is skipped where $CLUE_TEST_DATA is unset."""
    folder = os.environ.get("CLUE_TEST_DATA")
    if not folder:
        pytest.skip("CLUE_TEST_DATA is unset: no official data on this machine")
    path = Path(folder)
    if not path.is_dir():
        pytest.fail(f"CLUE_TEST_DATA names no folder: {path}")
    return path.resolve()


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    """The tokenizer of the shipped vocabulary, lower-casing, as most published models are."""
    from clue_runner.tokens.tokenizer import Tokenizer

    vocabulary = Path(__file__).parents[1] / "configs" / "models" / "vocab" / "zh.txt"
    return Tokenizer(vocabulary, lowercase=True)


@pytest.fixture
def clue_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty $CLUE_HOME, so that no test sees or changes the user's own."""
    home = tmp_path / "clue-home"
    home.mkdir()
    monkeypatch.setenv("CLUE_HOME", str(home))
    return home


@dataclass(frozen=True)
class Outcome:
    """What a command line did."""

    exit_code: int
    stdout: str
    stderr: str


@pytest.fixture
def clue(clue_home: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Run ``clue`` in this process, under an empty $CLUE_HOME."""
    from clue_runner.cli.main import run

    def call(*arguments: str | Path) -> Outcome:
        capsys.readouterr()
        try:
            exit_code = run([str(argument) for argument in arguments])
        except SystemExit as stop:
            exit_code = stop.code if isinstance(stop.code, int) else 1
        out, err = capsys.readouterr()
        return Outcome(exit_code, out, err)

    return call
