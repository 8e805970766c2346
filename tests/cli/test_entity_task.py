"""CLUENER on the command line: every head trains, answers, scores and hands in; bad records are refused."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

BACKEND = os.environ.get("KERAS_BACKEND", "tensorflow")
SAMPLE = Path(__file__).parents[2] / "tasks" / "cluener" / "sample"
SMALL = ("--task", "cluener", "--model", "test", "--backend", BACKEND, "--set", "data.limit_train=64")
SMALL += ("--set", "data.limit_dev=16", "--set", "train.batch_size=8", "--set", "train.max_steps=2")
SMALL += ("--set", "data.max_length=24")
SMALL += ("--set", "model.num_layers=1")
Clue = Callable[..., Any]
MANY, FEW = "globalpointer", 2  # a head that finds nearly every span while it has learnt nothing


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("head", ["globalpointer", "efficient", "crf", "softmax"])
def test_every_head_trains_scores_and_hands_in(clue: Clue, tmp_path: Path, head: str) -> None:
    place = tmp_path / head
    sets = ("--set", f"model.entity_head={head}", "--set", f"task.max_spans={FEW if head == MANY else 100}")
    outcome = clue("train", *SMALL, "--data", "sample", *sets, "--output", place)
    assert outcome.exit_code == 0, outcome.stderr
    metrics = read(place / "metrics.json")
    left_out = f"entities left out beside the {FEW} best of a text (task.max_spans)"
    for split in ("dev", "test"):  # what is kept in the results is said too
        count = metrics["notes"].get(split, {}).get(left_out, 0)
        assert (count > 0) is (head == MANY)
        assert (f"{split}: {count:,} {left_out}" in outcome.stderr) is (head == MANY)
    assert metrics["metric"] == "site_macro_f1" and metrics["chance"] == 0
    assert {"strict_macro_f1", "strict_micro_f1"} <= metrics["scores"].keys()
    assert metrics["submission"]["ok"]
    written = (place / "submission" / "cluener_predict.json").read_bytes()
    assert written.count(b"\n") == 64
    checked = clue("submit", "check", place, "--data", "sample", "--benchmark", "cluener")
    assert "cluener_predict.json" in checked.stdout and "labels known" in checked.stdout
    gold = tmp_path / "dev.json"
    gold.write_bytes(b"".join((SAMPLE / "dev.json").read_bytes().splitlines(keepends=True)[:16]))
    again = clue(
        "evaluate",
        "--task",
        "cluener",
        "--predictions",
        place / "predictions" / "dev.jsonl",
        "--gold",
        gold,
        "--json",
    )
    assert again.exit_code == 0, again.stderr
    result = json.loads(again.stdout.strip().split("\n")[-1])
    assert result["scores"] == pytest.approx(metrics["scores"])


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (
            {"text": "张三", "label": {"person": {"张三": [[0, 1]]}}},
            "entity type 'person' is not in the list",
        ),
        ({"text": "张三", "label": {"name": {"张三": [[0, 2]]}}}, "is outside the text"),
        ({"text": "张三去", "label": {"name": {"张三": [[1, 2]]}}}, "not '张三'"),
    ],
)
def test_bad_records_are_named_with_their_line(clue: Clue, tmp_path: Path, record: Any, message: str) -> None:
    data = tmp_path / "data"
    shutil.copytree(SAMPLE, data)
    with (data / "train.json").open("a", encoding="utf-8") as file:
        file.write(json.dumps(record, ensure_ascii=False) + "\n")
    outcome = clue("train", *SMALL, "--data", data, "--output", tmp_path / "run")
    assert outcome.exit_code == 3
    assert "train.json:257" in outcome.stderr and message in outcome.stderr


def test_a_record_cut_in_the_middle(clue: Clue, tmp_path: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(SAMPLE, data)
    (data / "train.json").write_bytes((data / "train.json").read_bytes()[:-20])
    outcome = clue("train", *SMALL, "--data", data, "--output", tmp_path / "run")
    assert outcome.exit_code == 3 and "train.json:256" in outcome.stderr
