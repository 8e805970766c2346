"""C3, ChID and the diagnostics on the command line: trained, predicted, checked, scored, and refused."""

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
TASKS = Path(__file__).parents[2] / "tasks"
SMALL = ("--model", "test", "--backend", BACKEND, "--set", "data.max_length=24")
SMALL += ("--set", "data.limit_train=64", "--set", "data.limit_dev=16", "--set", "train.batch_size=8")
SMALL += ("--set", "train.max_steps=2", "--set", "train.precision=float32")
SMALL += ("--set", "model.num_layers=1")
Clue = Callable[..., Any]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of each task."""
    place = tmp_path_factory.mktemp("place")
    cache = tmp_path_factory.mktemp("cache")
    os.environ["CLUE_HOME"] = str(cache / "home")
    for task in ("c3", "chid", "ocnli"):
        assert (
            run_clue(["train", "--task", task, "--data", "sample", *SMALL, "--output", str(place / task)])
            == 0
        )
    return place


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize(("task", "files"), [("c3", ("c311", "c310")), ("chid", ("chid11", "chid10"))])
def test_both_versions_are_predicted_checked_and_packed(
    clue: Clue, runs: Path, tmp_path: Path, task: str, files: tuple[str, str]
) -> None:
    metrics = read(runs / task / "metrics.json")
    assert metrics["ok"] and metrics["submission"]["ok"] and metrics["examples"] == 16
    assert 0 < metrics["chance"] < 50 and len(metrics["confidence_interval"]) == 2
    names = [f"{stem}_predict.json" for stem in files]
    assert {Path(one["file"]).name for one in metrics["submission"]["files"]} == set(names)
    for name, benchmark in zip(names, ("clue1.1", "clue1.0"), strict=True):
        target = tmp_path / f"{benchmark}.zip"
        outcome = clue(
            "submit", "pack", runs / task, "--data", "sample", "--benchmark", benchmark, "--output", target
        )
        assert outcome.exit_code == 0 and name in outcome.stdout
    refused = clue("submit", "check", runs / task / "submission" / names[0])
    assert refused.exit_code == 3 and "not for upload" in refused.stderr


def test_predictions_of_a_run_and_the_submission_score_alike(clue: Clue, runs: Path, tmp_path: Path) -> None:
    for task in ("c3", "chid"):
        outcome = clue(
            "predict", "--run", runs / task, "--split", "dev", "--output", tmp_path / f"{task}.jsonl"
        )
        assert outcome.exit_code == 0, outcome.stderr
        scored = clue(
            "evaluate",
            "--task",
            task,
            "--predictions",
            tmp_path / f"{task}.jsonl",
            "--data",
            "sample",
            "--json",
        )
        assert scored.exit_code == 0, scored.stderr
        by_record = json.loads(scored.stdout.rstrip("\n").split("\n")[-1])
        assert f"accuracy {by_record['score']:.2f}" in outcome.stdout
    lines = (tmp_path / "chid.jsonl").read_text(encoding="utf-8").split("\n")[:-1]
    tags = {tag: index for line in lines for tag, index in json.loads(line)["prediction"].items()}
    (tmp_path / "chid11_predict.json").write_text(json.dumps(tags), encoding="utf-8")
    again = clue(
        "evaluate",
        "--task",
        "chid",
        "--predictions",
        tmp_path / "chid11_predict.json",
        "--data",
        "sample",
        "--json",
    )
    by_tag = json.loads(again.stdout.rstrip("\n").split("\n")[-1])
    assert by_tag["matched_by"] == "tag" and by_tag["score"] == by_record["score"]


def test_diagnostics_are_answered_by_a_run_of_ocnli(clue: Clue, runs: Path) -> None:
    before = (runs / "ocnli" / "predictions" / "test.jsonl").read_bytes()
    outcome = clue("predict", "--run", runs / "ocnli", "--task", "diagnostics", "--data", "sample")
    assert outcome.exit_code == 0, outcome.stderr
    made = runs / "ocnli" / "diagnostics" / "submission" / "diagnostics_predict.json"
    lines = made.read_text(encoding="utf-8").split("\n")[:-1]
    assert [json.loads(line)["id"] for line in lines] == list(range(64))
    assert {json.loads(line)["label"] for line in lines} <= {"entailment", "neutral", "contradiction"}
    assert (runs / "ocnli" / "predictions" / "test.jsonl").read_bytes() == before
    assert clue("submit", "check", made, "--data", "sample").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["train", "--task", "diagnostics", "--data", "sample"], "has no train and no dev split"),
        (["predict", "--task", "diagnostics", "--data", "sample"], "name one with --run"),
        (
            ["predict", "--task", "diagnostics", "--data", "sample", "--run", "{c3}"],
            "c3 cannot answer diagnostics",
        ),
        (["predict", "--task", "afqmc", "--data", "sample", "--run", "{ocnli}"], "cannot answer afqmc"),
    ],
)
def test_what_cannot_be_lent_is_refused_with_advice(
    clue: Clue, runs: Path, arguments: list[str], said: str
) -> None:
    outcome = clue(*[one.format(c3=runs / "c3", ocnli=runs / "ocnli") for one in arguments])
    assert outcome.exit_code == 2 and said in outcome.stderr
    if "diagnostics" in arguments and "c3" not in said:
        assert "clue predict --run runs/ocnli/RUN --task diagnostics" in outcome.stderr


def broken(tmp_path: Path, task: str, file: str, old: str, new: str) -> Path:
    folder = tmp_path / task
    shutil.copytree(TASKS / task / "sample", folder)
    text = (folder / file).read_text(encoding="utf-8")
    assert old in text
    (folder / file).write_text(text.replace(old, new, 1), encoding="utf-8")
    return folder


def test_an_answer_that_is_no_choice_is_named_with_its_line(clue: Clue, tmp_path: Path) -> None:
    first = '"answer": "'
    folder = broken(tmp_path, "c3", "d-dev.json", first, first + "某")
    outcome = clue("train", "--task", "c3", "--data", folder, *SMALL, "--output", tmp_path / "run")
    assert outcome.exit_code == 3
    assert "d-dev.json:9: the answer" in outcome.stderr and "is not among the choices" in outcome.stderr


def test_a_tag_that_stands_twice_is_named_with_its_line(clue: Clue, tmp_path: Path) -> None:
    lines = (TASKS / "chid" / "sample" / "dev.json").read_text(encoding="utf-8").split("\n")
    tags = [part for part in lines[1].split("#") if part.startswith("idiom")]
    folder = broken(tmp_path, "chid", "dev.json", f"#{tags[1]}#", f"#{tags[0]}#")
    outcome = clue("train", "--task", "chid", "--data", folder, *SMALL, "--output", tmp_path / "run")
    assert outcome.exit_code == 3
    assert f"dev.json:2: the tag #{tags[0]}# appears twice in the record" in outcome.stderr


@pytest.mark.parametrize(("task", "file"), [("c3", "m-train.json"), ("chid", "train.json")])
def test_a_record_cut_in_the_middle_is_named_with_its_line(
    clue: Clue, tmp_path: Path, task: str, file: str
) -> None:
    folder = tmp_path / task
    shutil.copytree(TASKS / task / "sample", folder)
    raw = (folder / file).read_bytes()
    cut = raw[: len(raw) // 2]
    (folder / file).write_bytes(cut)
    outcome = clue("train", "--task", task, "--data", folder, *SMALL, "--output", tmp_path / "run")
    line = cut.count(b"\n") + 1
    assert outcome.exit_code == 3 and f"{file}:{line}: " in outcome.stderr
