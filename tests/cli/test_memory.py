"""``clue memory``: a table without running a step, what fits, one ready line."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Clue = Callable[..., Any]


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
    parts = ("parameters", "gradients", "optimizer", "activations", "temporary", "copy")
    assert one["total"] == sum(one[name] for name in parts)
    assert {one["recompute"] for one in found["largest"]} == {"none", "sublayer", "block", "segment:2"}
    totals = {
        (one["rows"], one["length"]): one["total"] for one in found["table"] if one["recompute"] == "none"
    }
    assert totals[64, 128] > totals[16, 128] > totals[16, 32]


def test_examples_of_several_rows(clue: Clue) -> None:
    """C3: four rows an example, so that a token budget for 16 examples holds 64 rows."""
    asked = (
        "--task",
        "c3",
        "--model",
        "test",
        "--budget",
        "1GB",
        "--set",
        "train.batch_size=16",
        "--counted",
    )
    outcome = clue("memory", *asked, "--set", "data.max_length=256", "--json")
    found = json.loads(outcome.stdout.splitlines()[-1])
    assert found["rows_per_example"] == 4
    assert "train.token_budget=16384" in found["recommended"]
    assert "up to 4 rows" in clue("memory", *asked).stdout


def test_tokens_that_are_dropped_are_not_counted(clue: Clue) -> None:
    outcome = clue("memory", "--task", "afqmc", "--budget", "1GB", "--set", "train.drop_tokens=0.1")
    assert "train.drop_tokens is not counted" in outcome.stdout


def vocabulary_of(outcome: Any) -> str:
    """The size that ``clue memory`` counted, or the one that a run says it has."""
    assert outcome.exit_code == 0, outcome.stderr
    found = re.search(r"vocabulary(?: of|:) ([\d,]+)", outcome.stdout)
    assert found is not None, outcome.stdout
    return found[1]


@pytest.mark.parametrize("setting", ["model.keep_tokens=simplified", "model.keep_tokens={}"])
def test_tokens_that_are_left_out_are_not_counted(clue: Clue, tmp_path: Path, setting: str) -> None:
    kept = tmp_path / "kept.txt"
    kept.write_text("的\n是\n", encoding="utf-8")
    asked = ("--task", "afqmc", "--model", "test", "--set", setting.format(kept))
    counted = vocabulary_of(clue("memory", *asked, "--budget", "1GB"))
    assert counted == vocabulary_of(clue("train", *asked, "--data", "sample", "--dry-run"))
    assert counted != vocabulary_of(clue("memory", *asked[:4], "--budget", "1GB"))


def test_tokens_kept_for_texts_are_counted_where_the_texts_are(clue: Clue, tmp_path: Path) -> None:
    asked = ("--model", "test", "--set", "model.keep_tokens=auto")
    outcome = clue("memory", "--task", "afqmc", *asked, "--budget", "1GB")
    assert "model.keep_tokens=auto is not counted without the task's data" in outcome.stdout
    assert vocabulary_of(outcome) == vocabulary_of(clue("memory", "--task", "afqmc", "--budget", "1GB"))
    own = tmp_path / "own"
    shutil.copytree(Path(__file__).parents[2] / "tasks" / "afqmc", own)
    for path in (own / "sample").iterdir():
        shutil.copy(path, own / path.name)
    outcome = clue("memory", "--task", own, *asked, "--budget", "1GB")
    assert "not counted" not in outcome.stdout
    assert vocabulary_of(outcome) == vocabulary_of(clue("train", "--task", own, *asked, "--dry-run"))


AUTO = ("train", "--task", "afqmc", "--data", "sample", "--model", "test", "--set", "train.batch_size=auto")


def test_a_plan_keeps_the_number_that_a_run_began_with(clue: Clue, tmp_path: Path) -> None:
    """Of the first seed where there are several; ``--fresh`` takes a new one."""
    from clue_runner.adapters.sections import SECTIONS, load_run
    from clue_runner.runs.folder import seed_folder, write_settings

    folder = seed_folder(tmp_path, 42)
    folder.path.mkdir()
    begun = load_run(task="afqmc", card_settings={}, model="test", overrides=["train.batch_size=12"])
    write_settings(folder, begun, SECTIONS)
    plan = (*AUTO, "--dry-run", "--output")
    assert "of 12 examples" in clue(*plan, folder.path).stdout
    assert "of 12 examples" in clue(*plan, tmp_path, "--seeds", "2").stdout
    outcome = clue(*plan, folder.path, "--fresh")
    assert "of 12 examples" not in outcome.stdout
    assert "(encoder of " in outcome.stdout


def test_a_folder_is_looked_at_before_a_backend_is_loaded(
    clue: Clue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = "clue_runner.training.network.set_backend"
    monkeypatch.setattr(loaded, lambda backend: pytest.fail("a backend is loaded"))
    (tmp_path / "thesis.tex").write_text("", encoding="utf-8")
    outcome = clue(*AUTO, "--output", tmp_path)
    assert outcome.exit_code == 2
    assert "the output folder contains other files" in outcome.stderr


def test_a_gpu_that_is_not_here_is_planned_for(clue: Clue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    asked = ("memory", "--task", "afqmc", "--model", "test", "--device", "gpu", "--backend", "jax")
    outcome = clue(*asked, "--budget", "24GB", "--json")
    assert json.loads(outcome.stdout.splitlines()[-1])["precision"] == "bfloat16"
    outcome = clue(*asked)
    assert outcome.exit_code == 2
    assert "give --budget" in outcome.stderr


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("--budget", "much"), "not an amount of memory"),
        (("--task", "webqa"), "only for transformer encoders"),
    ],
)
def test_mistakes(clue: Clue, arguments: tuple[str, ...], text: str) -> None:
    first = () if "--task" in arguments else ("--task", "afqmc")
    outcome = clue("memory", *first, *arguments)
    assert outcome.exit_code == 2
    assert text in outcome.stderr
