"""``clue ask``: the answer with its evidence marked, as a line and as one object, and what is refused."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clue_runner.cli.main import run as run_clue

BACKEND = os.environ.get("KERAS_BACKEND", "tensorflow")
SMALL = ("--backend", BACKEND, "--set", "data.limit_train=16", "--set", "data.limit_dev=4")
SMALL += ("--set", "train.max_steps=1", "--set", "train.batch_size=8", "--set", "train.precision=float32")
READER = ("--set", "model.hidden_dim=16", "--set", "data.max_length=40", "--set", "data.passage_crop=32")
READER += ("--set", "data.min_count=1", "--set", "model.answer_threshold=0.0")
Clue = Callable[..., Any]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of webqa."""
    place = tmp_path_factory.mktemp("ask") / "run"
    os.environ["CLUE_HOME"] = str(tmp_path_factory.mktemp("home"))
    assert (
        run_clue(["train", "--task", "webqa", "--data", "sample", *SMALL, *READER, "--output", str(place)])
        == 0
    )
    return place


def test_the_answer_is_shown_where_it_stands(clue: Clue, run: Path, tmp_path: Path) -> None:
    passages = {"one.txt": "北京是中国的首都。", "two.txt": "上海在长江边上。" * 6}
    for name, text in passages.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    question = ("ask", "--run", run, "--question", "中国的首都是哪里？")
    files = [part for name in passages for part in ("--passage", tmp_path / name)]
    told = clue(*question, *files)
    assert told.exit_code == 0, told.stderr
    assert "two.txt: cut to 40 of 48 characters" in told.stderr
    found = json.loads(clue(*question, *files, "--json").stdout.rstrip("\n").split("\n")[-1])
    first = found["evidence"][0]
    text = passages[Path(first["passage"]).name]
    assert found["answer"] == text[first["start"] : first["end"]] != ""
    assert 0 < first["score"] <= 1 and found["ok"]
    assert f"【{found['answer']}】" in told.stdout
    assert any(line.startswith(f"{found['answer']}   vote ") for line in told.stdout.split("\n"))


def test_no_passage_gives_no_answer(clue: Clue, run: Path) -> None:
    told = clue("ask", "--run", run, "--question", "谁？", "--json")
    assert told.exit_code == 0 and "so there is no answer" in told.stderr
    assert json.loads(told.stdout.rstrip("\n").split("\n")[-1])["answer"] == ""


def test_what_cannot_be_asked_is_refused(clue: Clue, run: Path, tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_text(" \n", encoding="utf-8")
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9")
    wrong = [part for name in ("empty", "latin", "none") for part in ("--passage", tmp_path / f"{name}.txt")]
    told = clue("ask", "--run", run, "--question", "谁？", *wrong)
    assert told.exit_code == 3
    for says in ("empty.txt:1", "latin.txt:1", "none.txt"):
        assert says in told.stderr
    assert clue("ask", "--run", run, "--question", " ").exit_code == 2


def test_a_run_of_another_task_cannot_be_asked(clue: Clue, tmp_path: Path) -> None:
    place = tmp_path / "afqmc"
    short = ("--set", "data.max_length=16")
    trained = clue(
        "train", "--task", "afqmc", "--model", "test", "--data", "sample", *SMALL, *short, "--output", place
    )
    assert trained.exit_code == 0, trained.stderr
    told = clue("ask", "--run", place, "--question", "谁？")
    assert told.exit_code == 2 and "a run of afqmc cannot answer a question" in told.stderr
