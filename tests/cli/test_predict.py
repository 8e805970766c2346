"""``clue predict``: which run, which split, where the answers go."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clue_runner.cli.main import run as run_clue

BACKEND = os.environ.get("KERAS_BACKEND", "tensorflow")
SAMPLE = Path(__file__).parents[2] / "tasks" / "afqmc" / "sample"
SMALL = ("--model", "test", "--backend", BACKEND, "--set", "data.max_length=8")
SMALL += ("--set", "data.limit_train=64", "--set", "data.limit_dev=32")
SMALL += ("--set", "train.max_steps=2", "--set", "train.precision=float32")
Clue = Callable[..., Any]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder with two finished runs of two seeds."""
    place = tmp_path_factory.mktemp("place")
    cache = tmp_path_factory.mktemp("cache")
    os.environ["CLUE_HOME"] = str(cache / "home")
    for seed in (1, 2):
        output = ("--seed", str(seed), "--output", str(place / "runs" / "afqmc" / f"test-{seed}"))
        assert run_clue(["train", "--task", "afqmc", "--data", "sample", *SMALL, *output]) == 0
    return place


@pytest.fixture(autouse=True)
def _here(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)


def answers(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n")[:-1]]


def test_the_newest_finished_run_and_its_own_data(clue: Clue, place: Path) -> None:
    run = place / "runs" / "afqmc" / "test-2"
    before = {
        path.name: path.read_bytes()
        for part in ("predictions", "submission")
        for path in (run / part).iterdir()
    }
    shutil.rmtree(run / "submission")
    (run / "predictions" / "test.jsonl").unlink()
    outcome = clue("predict")
    assert outcome.exit_code == 0
    assert "test-2" in outcome.stdout
    assert "accepted by clue submit check" in outcome.stdout
    assert "not for upload" in outcome.stdout
    after = {
        path.name: path.read_bytes()
        for part in ("predictions", "submission")
        for path in (run / part).iterdir()
    }
    before.pop("NOT-FOR-UPLOAD.txt")
    after.pop("NOT-FOR-UPLOAD.txt", None)
    assert after == before


def test_dev_has_its_score_again(clue: Clue, place: Path) -> None:
    run = place / "runs" / "afqmc" / "test-1"
    outcome = clue("predict", "--run", run, "--split", "dev", "--json", "--output", place / "dev.jsonl")
    assert outcome.exit_code == 0
    result = json.loads(outcome.stdout.rstrip("\n").split("\n")[-1])
    metrics = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    assert result["event"] == "result"
    assert result["examples"] == 256
    assert len(answers(place / "dev.jsonl")) == 256
    assert answers(place / "dev.jsonl")[:32] == answers(run / "predictions" / "dev.jsonl")
    assert metrics["examples"] == 32


def test_several_runs_answer_together(clue: Clue, place: Path) -> None:
    runs = [place / "runs" / "afqmc" / f"test-{seed}" for seed in (1, 2)]
    for run in runs:
        assert clue("predict", "--run", run, "--split", "dev").exit_code == 0
    outcome = clue("predict", "--run", runs[0], "--run", runs[1], "--split", "dev")
    assert outcome.exit_code == 0
    joint = answers(place / "runs" / "afqmc" / "ensemble" / "predictions" / "dev.jsonl")
    singles = [answers(run / "predictions" / "dev.jsonl") for run in runs]
    for one, first, second in zip(joint, *singles, strict=True):
        ones = [x["probability"] if x["prediction"] == "1" else 1 - x["probability"] for x in (first, second)]
        mean = sum(ones) / 2
        assert one["probability"] == pytest.approx(max(mean, 1 - mean), abs=1e-6)
        if abs(mean - 0.5) > 1e-6:
            assert one["prediction"] == ("1" if mean > 0.5 else "0")


def test_a_file_of_ones_own(clue: Clue, place: Path, tmp_path: Path) -> None:
    lines = (SAMPLE / "test.json").read_text(encoding="utf-8").split("\n")
    (tmp_path / "mine.json").write_text("\n".join(lines[3:5]), encoding="utf-8")
    run = place / "runs" / "afqmc" / "test-1"
    outcome = clue(
        "predict", "--run", run, "--split", tmp_path / "mine.json", "--output", tmp_path / "out.jsonl"
    )
    assert outcome.exit_code == 0
    found, known = answers(tmp_path / "out.jsonl"), answers(run / "predictions" / "test.jsonl")[3:5]
    assert [(one["id"], one["prediction"]) for one in found] == [
        (one["id"], one["prediction"]) for one in known
    ]


def test_one_official_file_at_a_place_of_choice(clue: Clue, place: Path, tmp_path: Path) -> None:
    run = place / "runs" / "afqmc" / "test-1"
    assert clue("predict", "--run", run, "--output", tmp_path / "mine.json").exit_code == 0
    assert (tmp_path / "mine.json").read_bytes() == (run / "submission" / "afqmc_predict.json").read_bytes()


def test_no_test_file(clue: Clue, place: Path, tmp_path: Path) -> None:
    data = Path(shutil.copytree(SAMPLE, tmp_path / "data"))
    (data / "test.json").unlink()
    outcome = clue("predict", "--run", place / "runs" / "afqmc" / "test-1", "--data", data)
    assert outcome.exit_code == 3
    assert "test.json" in outcome.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (("--run", "runs/none"), 3, "runs/none"),
        (("--run", "runs"), 4, "no run in this folder"),
        (("--task", "tnews"), 4, "clue train --task tnews"),
        (("--task", "tnews", "--run", "runs/afqmc/test-1"), 2, "afqmc"),
        (("--split", "valid"), 3, "test, train, dev"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_refused(clue: Clue, arguments: tuple[str, ...], code: int, text: str) -> None:
    outcome = clue("predict", *arguments)
    assert outcome.exit_code == code
    assert text in outcome.stderr
    assert "Traceback" not in outcome.stderr


def test_a_damaged_best_state(clue: Clue, place: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(place / "runs" / "afqmc" / "test-1", tmp_path / "copy"))
    weights = run / "checkpoints" / "step-2" / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    outcome = clue("predict", "--run", run)
    assert outcome.exit_code == 4
    assert "weights.safetensors" in outcome.stderr
