"""``clue report``, ``clue compare`` and ``clue baseline`` as commands; nothing here loads a backend."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.pages import make_run, suite_table

from clue_runner.adapters.answers import Prediction
from clue_runner.cli.main import run


def flipped(below: int) -> Any:
    def change(place: int, one: Prediction) -> Prediction:
        return replace(one, prediction="1" if one.prediction == "0" else "0") if place < below else one

    return change


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def last(said: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(said.rstrip("\n").split("\n")[-1])
    return content


def test_report_of_the_newest_run(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_run(here / "runs" / "afqmc" / "test-42", "afqmc")
    assert run(["report", "--language", "zh"]) == 0
    assert capsys.readouterr().out == "runs/afqmc/test-42/report.html\n"
    assert "错例" in (here / "runs" / "afqmc" / "test-42" / "report.html").read_text(encoding="utf-8")


def test_report_of_a_folder_of_runs_and_of_a_suite(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_run(here / "a" / "one", "afqmc")
    make_run(here / "a" / "two", "c3", seed=1)
    (here / "suite").mkdir()
    (here / "suite" / "collected.json").write_text(json.dumps(suite_table()), encoding="utf-8")
    assert run(["report", "a", "suite", "--json"]) == 0
    files = last(capsys.readouterr().out)["files"]
    assert files == ["a/one/report.html", "a/two/report.html", "suite/report.html"]
    assert run(["report", "a", "--output", "x.html"]) == 2
    assert run(["report", "suite", "--card"]) == 2
    assert run(["report", "nowhere"]) == 3
    assert run(["report", str(here / "suite"), "--output", "new/page.html"]) == 0
    assert (here / "new" / "page.html").is_file()
    (here / "runs" / "bench").mkdir(parents=True)
    (here / "suite").rename(here / "runs" / "bench" / "two")
    assert run(["report", "two"]) == 0  # a suite's own place, by its name


def test_a_folder_without_a_run_that_has_ended(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = make_run(here / "run", "afqmc")
    folder.metrics.unlink()
    assert run(["report", "run"]) == 4
    (here / "empty").mkdir()
    assert run(["report", "empty"]) == 4
    said = capsys.readouterr().err
    assert "no run in this folder has finished" in said and "Traceback" not in said


def test_a_model_card_has_a_head_that_yaml_reads(here: Path) -> None:
    folder = make_run(here / "run", "afqmc")
    assert run(["report", "run", "--card"]) == 0
    _, head, body = (here / "run" / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    (index,) = yaml.safe_load(head)["model-index"]
    result = folder.result()
    assert result is not None and result.score is not None
    assert index["results"][0]["metrics"][0]["value"] == round(result.score, 2)
    assert "Not comparable" in body and "clue train --config run/run.yaml" in body


def test_compare_by_hand(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_run(here / "one", "afqmc")
    make_run(here / "two", "afqmc", seed=43, change=flipped(12))
    assert run(["compare", "one", "two", "--json"]) == 0
    found = last(capsys.readouterr().out)
    (pair,) = found["pairs"]
    first, second = (one["right"] for one in found["runs"])
    assert len(pair["only_second_right"]) - len(pair["only_first_right"]) == second - first
    assert len(pair["only_second_right"]) + len(pair["only_first_right"]) == 12  # each flip changes one
    assert pair["paired_bootstrap"]["difference"] == pytest.approx(100 * (second - first) / found["examples"])
    (model,) = found["models"]
    assert model["seeds"] == [42, 43] and model["mean"] == pytest.approx(
        sum(one["score"] for one in found["runs"]) / 2
    )


def test_the_same_answers_differ_by_nothing(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_run(here / "one", "cluener")
    make_run(here / "two", "cluener", seed=43)
    assert run(["compare", "one", "two", "--json"]) == 0
    (pair,) = last(capsys.readouterr().out)["pairs"]
    assert pair["paired_bootstrap"] == {"difference": 0.0, "interval": [0.0, 0.0], "p": 1.0}
    assert pair["only_first_right"] == pair["only_second_right"] == []


def test_runs_that_answer_other_questions_are_refused(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_run(here / "one", "afqmc")
    make_run(here / "two", "c3")
    assert run(["compare", "one", "two"]) == 2
    assert "differ in their task" in capsys.readouterr().err
    other = make_run(here / "three", "afqmc", seed=3)
    content = json.loads(other.metrics.read_text(encoding="utf-8"))
    content["data_sha256"]["dev"] = "f" * 64
    other.metrics.write_text(json.dumps(content), encoding="utf-8")
    assert run(["compare", "one", "three"]) == 3
    assert "scored on different data" in capsys.readouterr().err
    assert run(["compare", "one"]) == 2
    assert run(["compare", "one", "nowhere"]) == 3
    assert "Traceback" not in capsys.readouterr().err


def test_baseline_on_sample_records(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["baseline", "--task", "afqmc", "--data", "sample", "--json"]) == 0
    found = last(capsys.readouterr().out)
    assert found["score"] > found["chance"] and found["data_complete"] is False
    folder = here / "runs" / "afqmc" / "linear-sample"
    assert json.loads((folder / "baseline.json").read_text(encoding="utf-8"))["score"] == found["score"]
    arguments = ["evaluate", "--task", "afqmc", "--data", "sample", "--json", "--predictions"]
    assert run([*arguments, str(folder / "predictions" / "dev.jsonl")]) == 0
    assert last(capsys.readouterr().out)["score"] == found["score"]
    make_run(here / "runs" / "afqmc" / "test-42", "afqmc")
    assert run(["report", "runs/afqmc/test-42", "--language", "en"]) == 0
    html = (here / "runs" / "afqmc" / "test-42" / "report.html").read_text(encoding="utf-8")
    assert f'linear baseline <span class="number">{found["score"]:.2f}</span>' in html


@pytest.mark.parametrize("task", ["cluener", "cmrc2018", "chid", "diagnostics"])
def test_a_task_without_a_label_a_text_has_no_linear_baseline(
    task: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["baseline", "--task", task, "--data", "sample"]) == 2
    assert "Traceback" not in capsys.readouterr().err and not (here / "runs").exists()
