"""Numbers that no score compares with are refused before anything runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clue_runner.commands.train import TrainRequest, fulfil
from clue_runner.console import Console
from clue_runner.errors import UsageError

VALUES = ["nan", "NaN", "-nan", "inf", "-inf", "infinity", "1e999"]


@pytest.mark.parametrize("value", VALUES)
def test_fail_under_is_a_number(clue: Callable[..., Any], tmp_path: Path, value: str) -> None:
    given = ("train", "--task", "afqmc", "--data", "sample", "--model", "test", "--output", tmp_path / "run")
    outcome = clue(*given, "--fail-under", value)
    assert outcome.exit_code == 2 and "--fail-under is not a score" in outcome.stderr
    assert not (tmp_path / "run").exists()


def test_the_python_call_refuses_it_too(tmp_path: Path) -> None:
    request = TrainRequest("afqmc", model="test", data="sample", output=tmp_path, fail_under=float("nan"))
    with pytest.raises(UsageError, match="--fail-under is not a score, got nan"):
        fulfil(request, Console(quiet=True))
