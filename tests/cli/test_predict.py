"""``clue predict``: which run, which split, where the answers go."""

from __future__ import annotations

import io
import json
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from clue_runner.cli.main import run as run_clue
from clue_runner.training import members
from clue_runner.training.evaluation import Predictor

BACKEND = os.environ.get("KERAS_BACKEND", "tensorflow")
SAMPLE = Path(__file__).parents[2] / "tasks" / "afqmc" / "sample"
SMALL = ("--model", "test", "--backend", BACKEND, "--set", "data.max_length=8")
SMALL += ("--set", "data.limit_train=64", "--set", "data.limit_dev=32")
SMALL += ("--set", "train.max_steps=2", "--set", "train.precision=float32")
SMALL += ("--set", "model.num_layers=1")
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


def last(outcome: Any) -> Any:
    return json.loads(outcome.stdout.rstrip("\n").split("\n")[-1])


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


@pytest.mark.parametrize("at_once", [1, 2])
def test_batches_side_by_side_change_no_bit(
    clue: Clue, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    run, asked = place / "runs" / "afqmc" / "test-1", []

    def small(*arguments: Any, **keywords: Any) -> Predictor:
        asked.append(replace(Predictor(*arguments, **keywords), tokens=64, at_once=at_once))
        return asked[-1]

    monkeypatch.setattr(members, "Predictor", small)
    found = tmp_path / "dev.jsonl"
    assert clue("predict", "--run", run, "--split", "dev", "--output", found).exit_code == 0
    assert asked
    assert answers(found)[:32] == answers(run / "predictions" / "dev.jsonl")


def test_ids_outside_the_tables_are_refused_as_in_training(
    clue: Clue, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Looked up, they would be zeros, and the answers wrong without a word."""
    from clue_runner.training import members

    encode = members.encode_records

    def wrong(*given: Any, **named: Any) -> Any:
        rows = encode(*given, **named)
        ids = rows.tokens["token_ids"].copy()
        ids[3] = 10**6
        return replace(rows, tokens={**rows.tokens, "token_ids": ids})

    monkeypatch.setattr(members, "encode_records", wrong)
    outcome = clue("predict", "--run", place / "runs/afqmc/test-1", "--split", "dev", "--output", "x.jsonl")
    assert outcome.exit_code == 2 and "1 of 256 rows have token_ids outside the table" in outcome.stderr
    assert "train again" in outcome.stderr and "--set" not in outcome.stderr
    assert not (place / "x.jsonl").exists()


def test_several_runs_answer_together(clue: Clue, place: Path) -> None:
    runs = [place / "runs" / "afqmc" / f"test-{seed}" for seed in (1, 2)]
    for run in runs:
        assert clue("predict", "--run", run, "--split", "dev").exit_code == 0
    outcome = clue("predict", "--run", runs[0], "--run", runs[1], "--split", "dev")
    assert outcome.exit_code == 0
    (home,) = (place / "runs" / "afqmc").glob("ensemble-test-1+test-2-*")
    joint = answers(home / "predictions" / "dev.jsonl")
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


def test_an_ensemble_has_a_folder_of_its_own_that_says_who_is_in_it(clue: Clue, place: Path) -> None:
    runs = [place / "runs" / "afqmc" / f"test-{seed}" for seed in (1, 2)]
    third = Path(shutil.copytree(runs[0], place / "others" / "test-3"))
    shutil.rmtree(third / "checkpoints")
    shutil.copytree(runs[1] / "checkpoints", third / "checkpoints")
    shutil.rmtree(third / "predictions")

    def ask(*members: Path, split: str = "dev") -> Path:
        given = [word for member in members for word in ("--run", member)]
        outcome = clue("predict", *given, "--split", split, "--json")
        assert outcome.exit_code == 0
        result = json.loads(outcome.stdout.rstrip("\n").split("\n")[-1])
        return Path(result["files"][0]).parents[1]

    home = ask(*runs)
    before = (home / "predictions" / "dev.jsonl").read_bytes()
    assert ask(*reversed(runs)) == home  # the same weights
    assert ask(runs[0], third) != home  # another member's name
    assert ask(runs[0], runs[0]) != home
    assert (home / "predictions" / "dev.jsonl").read_bytes() == before
    ask(*runs, split="test")
    note = json.loads((home / "ensemble.json").read_text(encoding="utf-8"))
    assert sorted(Path(one["run"]).name for one in note["members"]) == ["test-1", "test-2"]
    for one in note["members"]:
        best = Path(one["run"]) / "checkpoints"
        manifest = json.loads((best / "step-2" / "manifest.json").read_text(encoding="utf-8"))
        assert one["weights_sha256"] in json.dumps(manifest)
        metrics = json.loads((Path(one["run"]) / "metrics.json").read_text(encoding="utf-8"))
        assert one["dev_score"] == metrics["score"]
    assert note["dev"]["metric"] == "accuracy"  # kept when test was answered later
    assert note["dev"]["examples"] == 256
    outcome = clue("submit", "check", home, "--data", "sample", "--json")  # packed as one, named as one
    (file,) = (one for one in last(outcome)["files"] if one["task"] == "afqmc")
    assert file["model"] == "ensemble of 2: test" and file["score"] == note["dev"]["score"] and file["ok"]


# ---------------------------------------------------------------------------- what a user brings


def test_texts_of_the_command_line(clue: Clue, place: Path) -> None:
    run = place / "runs" / "afqmc" / "test-1"
    kept = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    record = json.loads((SAMPLE / "test.json").read_text(encoding="utf-8").split("\n")[3])
    texts = ("--text", record["sentence1"], "--text-pair", record["sentence2"])
    outcome = clue("predict", "--run", run, *texts, "--text", "一", "--text-pair", "二", "--json")
    assert outcome.exit_code == 0
    first, second = json.loads(outcome.stdout.rstrip("\n").split("\n")[-1])["answers"]
    assert first["fields"] == {name: record[name] for name in ("sentence1", "sentence2")}
    known = answers(run / "predictions" / "test.jsonl")[3]
    assert (first["prediction"], first["probability"]) == (known["prediction"], known["probability"])
    assert [one["label"] for one in first["probabilities"]] == ["0", "1"]
    assert all(one["name"] for one in first["probabilities"])
    assert sum(one["probability"] for one in first["probabilities"]) == pytest.approx(1, abs=1e-5)
    assert first["label"].startswith(f"{first['prediction']} (")
    assert second["id"] == 1
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == kept
    said = clue("predict", "--run", run, *texts).stdout
    assert f"{first['label']}   {first['probability']:.4f}" in said


def test_standard_input_to_standard_output(clue: Clue, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = place / "runs" / "afqmc" / "test-1"
    lines = (SAMPLE / "test.json").read_bytes().split(b"\n")[3:5]
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\n".join(lines)), encoding="utf-8"))
    outcome = clue("predict", "--run", run, "--split", "-", "--output", "-")
    assert outcome.exit_code == 0
    rows = [json.loads(line) for line in outcome.stdout.split("\n")[:-1]]  # nothing else on stdout
    known = answers(run / "predictions" / "test.jsonl")[3:5]
    assert [row["prediction"] for row in rows] == [one["prediction"] for one in known]
    assert [row["fields"]["sentence1"] for row in rows] == [json.loads(x)["sentence1"] for x in lines]
    assert "not scored" in outcome.stderr
    test = clue("predict", "--run", run, "--output", "-")
    assert test.stdout.encode() == (run / "predictions" / "test.jsonl").read_bytes()
    assert clue("predict", "--run", run, "--output", "-", "--json").exit_code == 2


def test_bad_lines_of_a_users_own_records_get_no_advice_to_download(
    clue: Clue, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = place / "runs" / "afqmc" / "test-1"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b'{"sentence1": "a"}\n'), encoding="utf-8"))
    outcome = clue("predict", "--run", run, "--split", "-", "--output", "-")
    assert outcome.exit_code == 3
    assert "standard input:1" in outcome.stderr
    assert "clue data get" not in outcome.stderr


def test_a_labelled_file_is_scored_and_replaces_nothing(clue: Clue, place: Path, tmp_path: Path) -> None:
    run = place / "runs" / "afqmc" / "test-1"
    own = {path: path.read_bytes() for path in (run / "predictions").iterdir()}
    results = []
    for folder, cut in (("x", 40), ("y", 30)):
        (tmp_path / folder).mkdir()
        mine = tmp_path / folder / "dev.json"
        mine.write_bytes(b"\n".join((SAMPLE / "dev.json").read_bytes().split(b"\n")[:cut]))
        outcome = clue("predict", "--run", run, "--split", mine, "--json")
        assert outcome.exit_code == 0
        assert "the file has labels: dev.json accuracy" in outcome.stderr
        results.append(json.loads(outcome.stdout.rstrip("\n").split("\n")[-1]))
        scored = clue(
            "evaluate", "--task", "afqmc", "--predictions", results[-1]["files"][0], "--gold", mine, "--json"
        )
        assert json.loads(scored.stdout.rstrip("\n").split("\n")[-1])["score"] == results[-1]["score"]
    assert [result["examples"] for result in results] == [40, 30]
    names = [Path(result["files"][0]) for result in results]
    assert names[0] != names[1]
    assert all(name.exists() and name.parent == run / "predictions" for name in names)
    assert {path: path.read_bytes() for path in own} == own


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("--text", "a"), "one --text-pair for each --text"),
        (("--text", "a", "--text-pair", "b", "--text-pair", "c"), "1 --text, 2 --text-pair"),
        (("--text-pair", "b"), "--text-pair needs --text"),
        (("--text", " ", "--text-pair", "b"), "empty"),
        (("--text", "a", "--text-pair", "b", "--split", "dev"), "--split"),
        (("--text", "a", "--text-pair", "b", "--data", "sample"), "--data"),
    ],
)
def test_texts_that_are_none_for_the_task(clue: Clue, arguments: tuple[str, ...], text: str) -> None:
    outcome = clue("predict", "--run", "runs/afqmc/test-1", *arguments)
    assert outcome.exit_code == 2
    assert text in outcome.stderr


def test_batches_are_halved_where_memory_ends(
    clue: Clue, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from clue_runner.training.evaluation import Predictor

    real, tried = Predictor.answer, []

    def answer(self: Predictor, *given: Any) -> Any:
        tried.append(self.tokens)
        if self.tokens > 2048:
            raise RuntimeError("RESOURCE_EXHAUSTED: Out of memory")
        return real(self, *given)

    monkeypatch.setattr(Predictor, "answer", answer)
    run = place / "runs" / "afqmc" / "test-1"
    outcome = clue("predict", "--run", run, "--split", "test", "--output", tmp_path / "out.json")
    assert outcome.exit_code == 0
    assert tried == [8192, 4096, 2048]
    assert "at most 2,048 tokens in a batch" in outcome.stderr
    assert (tmp_path / "out.json").read_bytes() == (run / "submission" / "afqmc_predict.json").read_bytes()


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
