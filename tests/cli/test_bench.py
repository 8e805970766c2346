"""``clue bench``: mistakes before anything runs, items by content, and two short runs from end to end."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

Clue = Callable[..., Any]

SUITE = """\
title: two short runs
models: [test]
tasks: [afqmc]
seeds: [1]
config: [smoke]
settings: {train.max_steps: 2, data.limit_train: 16, data.limit_dev: 16}
data: sample
device: cpu
"""


@pytest.fixture
def suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Write a suite in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("KERAS_BACKEND", raising=False)  # the suite says it

    def write(more: str = "", **changed: str) -> Path:
        text = SUITE + more
        for old, new in changed.items():
            line = next(line for line in SUITE.split("\n") if line.startswith(f"{old}:"))
            text = text.replace(line, f"{old}: {new}")
        path = tmp_path / "mine.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def plan(clue: Clue, *arguments: str | Path) -> dict[str, Any]:
    outcome = clue("bench", "plan", *arguments, "--json")
    assert outcome.exit_code == 0, outcome.stderr
    found: dict[str, Any] = json.loads(outcome.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize(
    ("changed", "more", "found"),
    [
        ({"models": "[tset]"}, "", "mine.yaml:2: no model called 'tset'"),
        ({"tasks": "[afqcm]"}, "", "mine.yaml:3: no task called 'afqcm'"),
        ({"models": "[dgcnn]"}, "", "mine.yaml:2: afqmc needs an encoder"),
        ({"settings": "{train.epoch: 2}"}, "", "mine.yaml:6: train.epoch: no such setting, did you mean"),
        ({"settings": "{train.epochs: two}"}, "", "mine.yaml:6: train.epochs has an invalid value"),
        (
            {},
            "grid: {train.learning_rat: [1e-3, 1e-4]}\n",
            "mine.yaml:9: train.learning_rat: no such",
        ),
        ({"settings": "{train.batch_size: auto}"}, "", "mine.yaml:6: a suite needs a fixed batch size"),
        (
            {"models": "[{name: test, label: a}, {name: test, label: b}]"},
            "",
            "two items are the same run and would share a folder",
        ),
        ({"config": "[smokee]"}, "", "mine.yaml:5: no recipe called 'smokee'"),
    ],
)
def test_a_mistake_is_said_before_anything_runs(
    clue: Clue, suite: Callable[..., Path], changed: dict[str, str], more: str, found: str, tmp_path: Path
) -> None:
    outcome = clue("bench", "run", suite(more, **changed))
    assert outcome.exit_code == 2
    assert found in outcome.stderr
    assert not (tmp_path / "runs").exists()


def test_all_mistakes_of_a_file_are_said_at_once(
    clue: Clue, suite: Callable[..., Path], tmp_path: Path
) -> None:
    """What the file's form says hides no misspelt name, setting or grid, and the other way round."""
    path = suite(
        "grid: {}\nmodles: [a]\ngates: {afqcm: 3}\n",
        models="[{name: test, lable: x}, tset]",
        tasks="[afqcm]",
        settings="{train.epoch: 2}",
    )
    for command in ("plan", "run", "collect"):
        outcome = clue("bench", command, path)
        assert outcome.exit_code == 2
        for found in (
            "mine.yaml:2: models.0.lable: no such key",
            "mine.yaml:2: no model called 'tset'",
            "mine.yaml:3: no task called 'afqcm'",
            "mine.yaml:9: grid is empty",
            "mine.yaml:10: modles: no such key",
        ):
            assert found in outcome.stderr
    assert "mine.yaml: suite, 5 problems" in clue("config", "check", path).stdout
    named = clue("bench", "run", suite("grid: {}\n", settings="{train.epoch: 2}"), "--model", "tset")
    assert "grid is empty" in named.stderr and "--model: no model called 'tset'" in named.stderr
    assert not (tmp_path / "runs").exists()


def test_executors_that_cannot_be_used(
    clue: Clue, suite: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from clue_runner.suites.executors import ray, slurm

    path = suite("ray: {address: '127.0.0.1:9'}\n")
    for module, name, extra in ((slurm, "slurm", "slurm"), (ray, "ray", "ray")):
        with monkeypatch.context() as patch:
            patch.setattr(module, "find_spec", lambda name: None)
            outcome = clue("bench", "run", path, "--executor", name)
        assert outcome.exit_code == 2
        assert f"pip install 'clue-runner[{extra}]'" in outcome.stderr
    monkeypatch.setattr(slurm, "find_spec", lambda name: object())
    monkeypatch.setattr(ray, "find_spec", lambda name: object())
    monkeypatch.setattr(slurm.shutil, "which", lambda name: None)
    assert "SLURM cannot be reached" in clue("bench", "run", path, "--executor", "slurm").stderr
    outcome = clue("bench", "run", path, "--executor", "ray")
    assert (outcome.exit_code, "no Ray cluster can be reached" in outcome.stderr) == (2, True)
    assert clue("bench", "run", path, "--index", "7").exit_code == 2
    assert clue("bench", "run", path, "--index", "0", "--junit", "a.xml").exit_code == 2
    assert not (tmp_path / "runs").exists()


def test_a_backend_that_every_run_would_refuse(
    clue: Clue, suite: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from clue_runner.commands.bench import run

    path = suite()
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    outcome = clue("bench", "run", path)
    assert (outcome.exit_code, "two different backends are requested" in outcome.stderr) == (2, True)
    monkeypatch.setattr(run, "find_spec", lambda name: None)
    outcome = clue("bench", "run", path, "--backend", "jax")
    assert (outcome.exit_code, "clue-runner[jax]" in outcome.stderr) == (2, True)
    assert not (tmp_path / "runs").exists()


def test_two_of_everything_share_nothing(clue: Clue, suite: Callable[..., Path]) -> None:
    path = suite(
        "grid: {train.learning_rate: [1e-3, 1e-4]}\n",
        models="[test, {name: test, label: wide, settings: {model.hidden_dim: 64}}]",
        tasks="[afqmc, csl]",
        seeds="[1, 2]",
    )
    found = plan(clue, path)
    items = found["items"]
    assert len(items) == len({item["id"] for item in items}) == len({item["folder"] for item in items}) == 16
    assert (found["first_stage"], found["second_stage"]) == ([*range(16)], [*range(16, 24)])
    assert all(item["memory_bytes"] > 0 and item["state"] == "missing" for item in items)
    assert plan(clue, path)["items"] == items


def test_one_byte_changes_what_depends_on_it(clue: Clue, suite: Callable[..., Path], tmp_path: Path) -> None:
    from clue_runner.config.shipped import shipped_folder

    for task in ("afqmc", "csl"):
        shutil.copytree(shipped_folder("tasks") / task / "sample", tmp_path / "data" / task)
    path = suite(tasks="[afqmc, csl]", data=f'"{tmp_path}/data/{{task}}"')
    before = [item["id"] for item in plan(clue, path)["items"]]
    dev = tmp_path / "data" / "csl" / "dev.json"
    dev.write_bytes(dev.read_bytes() + b"\n")
    after = [item["id"] for item in plan(clue, path)["items"]]
    assert (before[0] == after[0], before[1] == after[1]) == (True, False)
    (tmp_path / "data" / "csl" / "train.json").unlink()
    broken = plan(clue, path)["items"]
    assert [item["state"] for item in broken] == ["missing", "failed"]
    assert "train.json" in broken[1]["reason"]


def test_the_same_from_python(suite: Callable[..., Path]) -> None:
    import clue_runner
    from clue_runner.errors import UsageError

    found = clue_runner.bench("plan", suite(), quiet=True)
    assert [(item["task"], item["seed"]) for item in found["items"]] == [("afqmc", 1)]
    with pytest.raises(UsageError, match="no such option"):
        clue_runner.bench("run", suite(), executer="local")
    with pytest.raises(UsageError, match="plan, run, collect"):
        clue_runner.bench("plot", suite())  # type: ignore[arg-type]


@pytest.mark.long
def test_two_runs_from_end_to_end(clue: Clue, suite: Callable[..., Path], tmp_path: Path) -> None:
    path = suite("gates: {afqmc: 100.1}\n", seeds="[1, 2]")
    outcome = clue("bench", "run", path, "--workers", "2", "--junit", "a.xml", "--markdown", "a.md", "--json")
    assert outcome.exit_code == 10, outcome.stderr
    assert "a gate of the suite failed" in outcome.stderr
    lines = [json.loads(line) for line in outcome.stdout.splitlines()]
    table = lines[-1]
    assert [line["ok"] for line in lines if line["event"] == "item"] == [True, True]
    assert (table["event"], [row["state"] for row in table["rows"]]) == ("result", ["ok", "ok"])
    cell = table["cells"][0]
    assert cell["mean"] == pytest.approx(sum(row["score"] for row in table["rows"]) / 2)
    assert ElementTree.parse(tmp_path / "a.xml").getroot().get("failures") == "1"
    assert "NOT PASSED" in (tmp_path / "a.md").read_text(encoding="utf-8")

    again = clue("bench", "run", path)
    assert "2 items, 0 to run" in again.stdout
    planned = plan(clue, path)
    assert [item["state"] for item in planned["items"]] == ["ok", "ok"]

    root = tmp_path / "runs" / "bench" / "mine"
    root.rename(tmp_path / "trained-there")
    there = clue("bench", "collect", path, tmp_path / "trained-there", "--json")
    rows = json.loads(there.stdout.splitlines()[-1])["rows"]
    assert [(row["state"], row["elsewhere"], row["score"]) for row in rows] == [
        ("ok", True, row["score"]) for row in table["rows"]
    ]
    for metrics in (tmp_path / "trained-there").glob("*/*/metrics.json"):
        content = json.loads(metrics.read_text(encoding="utf-8"))
        metrics.write_text(json.dumps({**content, "code": "0.0.1+other"}), encoding="utf-8")
    other = json.loads(
        clue("bench", "collect", path, tmp_path / "trained-there", "--json").stdout.splitlines()[-1]
    )
    assert [row["state"] for row in other["rows"]] == ["missing", "missing"]
    assert "trained by 0.0.1+other" in other["left_out"][0]


def test_techniques_on_and_off_where_a_task_refuses_some(
    clue: Clue, suite: Callable[..., Path], tmp_path: Path
) -> None:
    """As configs/suites/techniques.yaml, on samples: two run, one head refuses, one adapter refuses."""
    models = {"off": "train.optimizer: adamw", "fgm": "train.fgm: 0.5"}
    models |= {"label_smoothing": "train.label_smoothing: 0.1", "drop_tokens": "train.drop_tokens: 0.1"}
    listed = (f"{{name: test, label: '{name}', settings: {{{one}}}}}" for name, one in models.items())
    path = suite("baseline: 'off'\n", models=f"[{', '.join(listed)}]", tasks="[cluener]")
    states = {item["model"]: item["state"] for item in plan(clue, path)["items"]}
    assert states["drop_tokens"] == "refused" and {*states.values()} == {"missing", "refused"}

    outcome = clue("bench", "run", path, "--junit", "a.xml", "--markdown", "a.md", "--json")
    assert outcome.exit_code == 0, outcome.stderr
    table = json.loads(outcome.stdout.splitlines()[-1])
    assert [row["state"] for row in table["rows"]] == ["ok", "ok", "refused", "refused"]
    assert (table["ok"], table["baseline"]) == (True, "off")
    assert [(one["first"], one["second"]) for one in table["pairs"]] == [("off", "fgm")]
    (pair,), cells = table["pairs"], table["cells"]
    assert pair["difference"] == pytest.approx(cells[1]["mean"] - cells[0]["mean"])
    assert pair["step_cost"] > 0 and pair["seeds_std"] is None
    assert "ranks spans" in cells[2]["refused"] and "single tokens" in cells[3]["refused"]
    assert "cluener, label\\_smoothing: refused: " in (tmp_path / "a.md").read_text(encoding="utf-8")
    assert ElementTree.parse(tmp_path / "a.xml").getroot()[0].get("skipped") == "2"
    page = (tmp_path / "runs" / "bench" / "mine" / "report.html").read_text(encoding="utf-8")
    assert "ranks spans" in page

    again = clue("bench", "run", path)
    assert again.exit_code == 0 and "4 items, 0 to run" in again.stdout
    assert "refused: " in again.stdout and "2 of 4 items have a result, 2 refused" in again.stdout
    for index in ("2", "3"):
        one = clue("bench", "run", path, "--index", index)
        assert (one.exit_code, "refused: " in one.stdout) == (0, True), one.stderr
