"""``clue memory``: a table without running a step, what fits, one ready line."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from typing import Any

import pytest

Clue = Callable[..., Any]


@pytest.fixture(scope="module")
def backend() -> str:
    return os.environ.get("KERAS_BACKEND", "tensorflow")


def test_table_largest_batch_and_a_line_that_train_takes(clue: Clue) -> None:
    asked = ("--task", "afqmc", "--model", "bert-base", "--set", "data.max_length=512", "--budget", "24GB")
    outcome = clue("memory", *asked)
    assert outcome.exit_code == 0, outcome.stderr
    for word in (
        "parameters",
        "gradients",
        "optimizer",
        "activations",
        "temporary",
        "none",
        "sublayer",
        "block",
    ):
        assert word in outcome.stdout
    line = re.search(r"recommended: ((--set \S+ ?)+)", outcome.stdout)
    assert line is not None
    plan = clue(
        "train", "--task", "afqmc", "--data", "sample", "--model", "test", "--dry-run", *line[1].split()
    )
    assert plan.exit_code == 0, plan.stderr
    assert "memory       about" in plan.stdout


def test_json(clue: Clue) -> None:
    outcome = clue("memory", "--task", "cluener", "--budget", "2GiB", "--json")
    found = json.loads(outcome.stdout.splitlines()[-1])
    assert (found["event"], found["budget_bytes"]) == ("memory", 2 * 2**30)
    one = found["table"][0]
    parts = ("parameters", "gradients", "optimizer", "activations", "temporary")
    assert one["total"] == sum(one[name] for name in parts)
    assert {one["recompute"] for one in found["largest"]} == {"none", "sublayer", "block", "segment:2"}
    totals = {
        (one["rows"], one["length"]): one["total"] for one in found["table"] if one["recompute"] == "none"
    }
    assert totals[64, 128] > totals[16, 128] > totals[16, 32]


def test_compiled_forecast_runs_nothing(clue: Clue, backend: str) -> None:
    """JAX: XLA's own figures for the shapes; no weight is allocated."""
    if backend != "jax":
        pytest.skip("only JAX has the compiler's analysis")
    arguments = ("--model", "test", "--budget", "1GB", "--backend", "jax", "--set", "data.max_length=16")
    outcome = clue("memory", "--task", "afqmc", *arguments, "--json")
    assert outcome.exit_code == 0, outcome.stderr
    found = json.loads(outcome.stdout.splitlines()[-1])
    assert "XLA's analysis" in found["source"]
    counted = json.loads(
        clue("memory", "--task", "afqmc", *arguments, "--counted", "--json").stdout.splitlines()[-1]
    )
    for one, other in zip(found["table"], counted["table"], strict=True):
        assert one["parameters"] == other["parameters"]
        assert one["optimizer"] == pytest.approx(other["optimizer"], rel=0.05)
    none = [one["rows"] for one in found["largest"] if one["recompute"] == "none"]
    assert none == sorted(none, reverse=True)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [(("--budget", "much"), "no amount of memory"), (("--task", "webqa"), "transformer encoders alone")],
)
def test_mistakes(clue: Clue, arguments: tuple[str, ...], text: str) -> None:
    first = () if "--task" in arguments else ("--task", "afqmc")
    outcome = clue("memory", *first, *arguments)
    assert outcome.exit_code == 2
    assert text in outcome.stderr
