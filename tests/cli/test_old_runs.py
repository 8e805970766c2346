"""Run folders that an earlier version wrote (schema 1): predicted from, packed, recognised and continued."""

from __future__ import annotations

import json
import re
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

GOLDEN = Path(__file__).parents[1] / "goldens" / "runs" / "v1"
PLACEHOLDER = "/folder"
COMMAND = re.search(r"clue (train .*?)\n*\Z", (GOLDEN / "README.md").read_text(encoding="utf-8"), re.DOTALL)
NEAR = 1e-4  # another processor sums in another order
Clue = Callable[..., Any]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the golden, at home where it now lies."""
    folder = tmp_path / "v1"
    shutil.copytree(GOLDEN, folder)
    for path in folder.glob("*/*"):
        if path.suffix in {".yaml", ".jsonl"}:
            text = path.read_text(encoding="utf-8")
            path.write_text(text.replace(PLACEHOLDER, str(folder)), encoding="utf-8")
    monkeypatch.chdir(folder)
    return folder


def train(clue: Clue, output: str, *options: str) -> Any:
    """Give the command that made the runs."""
    assert COMMAND is not None
    words = COMMAND[1].replace("\\\n", " ").split()
    words[words.index("--output") + 1] = output
    return clue(*words, *options)


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def assert_same_answers(path: Path, golden: Path) -> None:
    new, old = rows(path), rows(golden)
    assert [(row["id"], row["prediction"]) for row in new] == [(row["id"], row["prediction"]) for row in old]
    assert {row["prediction"] for row in old} == {"0", "1"}
    probabilities = [row["probability"] for row in old]
    assert [row["probability"] for row in new] == pytest.approx(probabilities, abs=NEAR)


@pytest.mark.parametrize("split", ["dev", "test"])
def test_predicted_from(clue: Clue, folder: Path, split: str) -> None:
    answers = folder / "finished" / "predictions" / f"{split}.jsonl"
    answers.unlink()
    outcome = clue("predict", "--run", "finished", "--split", split, "--data", "data")
    assert outcome.exit_code == 0, outcome.stderr
    assert_same_answers(answers, GOLDEN / "finished" / "predictions" / f"{split}.jsonl")


def test_packed(clue: Clue, folder: Path) -> None:
    """Its test file is not the official one, so it is named and refused as such, not as an unknown folder."""
    outcome = clue("submit", "pack", "finished/submission", "--data", "data")
    assert outcome.exit_code == 3
    assert "the test file data/test.json has 8 records, the card says 3,861" in outcome.stderr
    assert not list(folder.glob("*.zip"))


def test_packed_as_a_sample(clue: Clue, folder: Path) -> None:
    """A run of sample records, as that version marked it."""
    submission = folder / "finished" / "submission"
    (submission / "NOT-FOR-UPLOAD.txt").write_text("answers to sample records\n", encoding="utf-8")
    sample = Path(__file__).parents[2] / "tasks" / "afqmc" / "sample" / "test.json"
    labels = [json.dumps({"id": record["id"], "label": "0"}) for record in rows(sample)]
    (submission / "afqmc_predict.json").write_text("\n".join(labels) + "\n", encoding="utf-8")
    outcome = clue("submit", "pack", "finished/submission", "--data", "sample")
    assert outcome.exit_code == 0, outcome.stderr
    with zipfile.ZipFile(folder / "submit-sample.zip") as archive:
        assert "afqmc_predict.json" in archive.namelist()


def test_a_finished_run_is_recognised(clue: Clue, folder: Path) -> None:
    before = (folder / "finished" / "metrics.json").read_bytes()
    outcome = train(clue, "finished")
    assert outcome.exit_code == 0, outcome.stderr
    assert "this run has already finished" in outcome.stdout
    assert (folder / "finished" / "metrics.json").read_bytes() == before
    assert "<article" in (folder / "finished" / "report.html").read_text(encoding="utf-8")  # it had no page


def test_a_killed_run_is_refused_with_the_reason_and_can_be_asked(clue: Clue, folder: Path) -> None:
    """Dropout is drawn by other keys now: going on would be neither the old run nor a new one."""
    files = {path: path.read_bytes() for path in (folder / "unfinished").rglob("*") if path.is_file()}
    outcome = train(clue, "unfinished")
    assert outcome.exit_code == 4
    for text in (
        "earlier version",
        "step 16",
        "schema 1",
        "--fresh",
        "--output",
        "clue predict --run unfinished",
    ):
        assert text in outcome.stderr
    assert {path: path.read_bytes() for path in (folder / "unfinished").rglob("*") if path.is_file()} == files
    outcome = clue("predict", "--run", "unfinished", "--split", "dev", "--data", "data")
    assert outcome.exit_code == 0, outcome.stderr
    assert "the run has not finished" in outcome.stderr


def test_a_killed_run_is_set_aside_by_fresh(clue: Clue, folder: Path) -> None:
    outcome = train(clue, "unfinished", "--fresh")
    assert outcome.exit_code == 0, outcome.stderr
    assert (folder / "unfinished.old-1" / "checkpoints" / "step-16").is_dir()
    result = json.loads((folder / "unfinished" / "metrics.json").read_text(encoding="utf-8"))
    assert (result["schema"], result["ok"]) == (2, True)


def test_a_change_of_settings_is_still_refused(clue: Clue, folder: Path) -> None:
    settings = folder / "unfinished" / "run.yaml"
    text = settings.read_text(encoding="utf-8")
    settings.write_text(text.replace("learning_rate: 0.05", "learning_rate: 0.06"), encoding="utf-8")
    outcome = train(clue, "unfinished")
    assert outcome.exit_code == 4
    assert "train.learning_rate" in outcome.stderr
    assert not (folder / "unfinished" / "metrics.json").exists()


def test_a_failed_run_has_no_score_and_nothing_to_answer_with(clue: Clue, folder: Path) -> None:
    outcome = clue("predict", "--run", "failed", "--data", "data")
    assert outcome.exit_code == 4
    assert "failed" in outcome.stderr
