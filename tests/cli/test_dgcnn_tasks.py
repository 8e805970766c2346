"""WebQA and SogouQA on the command line: converted, trained, predicted, scored, continued, and refused."""

from __future__ import annotations

import gzip
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clue_runner.cli.main import run as run_clue
from clue_runner.tokens.vectors import write_word_vectors

BACKEND = os.environ.get("KERAS_BACKEND", "tensorflow")
SMALL = ("--backend", BACKEND, "--set", "model.hidden_dim=16", "--set", "data.max_length=64")
SMALL += ("--set", "data.passage_crop=32", "--set", "data.limit_train=24", "--set", "data.limit_dev=6")
SMALL += ("--set", "data.min_count=1", "--set", "train.batch_size=8", "--set", "train.max_steps=2")
SMALL += ("--set", "train.precision=float32", "--set", "model.answer_threshold=0.0")
RECORD = {"id": "1", "question": "中国的首都？", "passages": [{"passage": "首都是北京。", "answer": "北京"}]}
Clue = Callable[..., Any]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of webqa on its sample, with word vectors."""
    place = tmp_path_factory.mktemp("webqa")
    os.environ["CLUE_HOME"] = str(tmp_path_factory.mktemp("home"))
    vectors(place / "vectors.txt")
    assert run_clue(command(place)) == 0
    return place


def command(place: Path, *more: str) -> list[str]:
    found = ["train", "--task", "webqa", "--data", "sample", *SMALL, "--output", str(place / "run")]
    return [*found, "--set", f"model.word_vectors={place / 'vectors.txt'}", *more]


def vectors(path: Path, seed: int = 0) -> None:
    table = np.random.default_rng(seed).normal(size=(3, 5)).astype(np.float32)
    write_word_vectors(path, ["什么", "哪一年", "城市"], table)


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def last(outcome: Any) -> Any:
    return json.loads(outcome.stdout.rstrip("\n").split("\n")[-1])


def listed(path: Path, *records: Any) -> Path:
    text = "[\n" + ",\n".join(json.dumps(record, ensure_ascii=False) for record in records) + "\n]\n"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_run_ends_with_a_score_and_the_tools_submission(clue: Clue, trained: Path) -> None:
    metrics = read(trained / "run" / "metrics.json")
    assert metrics["ok"] and metrics["model"] == "dgcnn" and metrics["steps"] == 2
    assert set(metrics["scores"]) == {"exact", "fuzzy", "mean"} and metrics["examples"] == 6
    lines = (trained / "run" / "submission" / "webqa_predict.txt").read_text(encoding="utf-8").split("\n")
    assert len(lines) == 33 and all(line.count("\t") == 1 for line in lines[:-1])
    answers = [json.loads(line) for line in (trained / "run/predictions/dev.jsonl").open(encoding="utf-8")]
    assert all(one["evidence"] for one in answers if one["prediction"])
    assert any(one["prediction"] for one in answers)


def test_predictions_of_the_run_are_scored(clue: Clue, trained: Path, tmp_path: Path) -> None:
    outcome = clue("predict", "--run", trained / "run", "--split", "dev", "--output", tmp_path / "dev.jsonl")
    assert outcome.exit_code == 0, outcome.stderr
    table = tmp_path / "dev.txt"
    lines = [json.loads(line) for line in (tmp_path / "dev.jsonl").open(encoding="utf-8")]
    table.write_text("".join(f"{one['id']}\t{one['prediction']}\n" for one in lines), encoding="utf-8")
    for file in (tmp_path / "dev.jsonl", table):
        scored = clue("evaluate", "--task", "webqa", "--predictions", file, "--data", "sample", "--json")
        assert scored.exit_code == 0, scored.stderr
        assert f"exact {last(scored)['score']:.2f}" in outcome.stdout


def test_changed_word_vectors_are_another_run(clue: Clue, trained: Path, tmp_path: Path) -> None:
    place = tmp_path / "place"
    shutil.copytree(trained, place)
    arguments = [one.replace(str(trained), str(place)) for one in command(trained)]
    other = clue(*arguments)  # the file moved: another setting
    assert other.exit_code == 4 and "task.word_vectors" in other.stderr
    vectors(trained / "vectors.txt", seed=1)
    changed = clue(*command(trained))
    asked = clue("predict", "--run", trained / "run", "--split", "dev", "--output", tmp_path / "dev.jsonl")
    vectors(trained / "vectors.txt")
    assert changed.exit_code == 4 and "vocabulary" in changed.stderr, changed.stderr
    assert asked.exit_code == 4 and "file of word vectors" in asked.stderr, asked.stderr
    assert not (tmp_path / "dev.jsonl").exists()
    again = clue(*command(trained))
    assert again.exit_code == 0 and "already finished" in again.stdout


def test_another_run_begins_from_this_one_with_its_vocabulary(
    clue: Clue, trained: Path, tmp_path: Path
) -> None:
    start = ["train", "--task", "sogouqa", "--data", "sample", *SMALL, "--model", str(trained / "run")]
    start += ["--output", str(tmp_path / "run")]
    bare = clue(*start)
    assert bare.exit_code == 4 and "word vectors differ from those" in bare.stderr, bare.stderr
    vectors(tmp_path / "others.txt", seed=1)
    other = clue(*start, "--set", f"task.word_vectors={tmp_path / 'others.txt'}")
    assert other.exit_code == 4 and "word vectors differ from those" in other.stderr, other.stderr
    assert not (tmp_path / "run").exists()
    # the network's table has the rows of the first run's characters, not of this task's
    begun = clue(*start, "--set", f"task.word_vectors={trained / 'vectors.txt'}")
    assert begun.exit_code == 0, begun.stderr
    first, second = (sorted(place.glob("run/checkpoints/step-*/vocab.txt")) for place in (trained, tmp_path))
    assert first[-1].read_bytes() == second[-1].read_bytes()


def test_a_page_with_other_word_vectors_is_without_lengths(clue: Clue, trained: Path, tmp_path: Path) -> None:
    page = ("report", trained / "run", "--output", tmp_path / "page.html")
    vectors(trained / "vectors.txt", seed=1)
    other = clue(*page)
    (trained / "vectors.txt").unlink()
    gone = clue(*page)
    vectors(trained / "vectors.txt")
    for outcome in (other, gone):
        assert outcome.exit_code == 0 and "lacks the records' lengths" in outcome.stderr, outcome.stderr
    assert "lacks the records' lengths" not in clue(*page).stderr


def test_a_plan_names_what_would_be_trained(clue: Clue, tmp_path: Path) -> None:
    outcome = clue("train", "--task", "sogouqa", "--data", "sample", *SMALL, "--dry-run")
    assert outcome.exit_code == 0, outcome.stderr
    assert "sogouqa 2018 with dgcnn" in outcome.stdout and "nothing was run" in outcome.stdout


@pytest.mark.parametrize("model", ["tiny", "bert-base"])
def test_an_encoder_is_refused_by_its_family(clue: Clue, model: str) -> None:
    outcome = clue("train", "--task", "webqa", "--data", "sample", "--model", model)
    assert outcome.exit_code == 2 and "webqa needs a model of the family dgcnn" in outcome.stderr


@pytest.mark.parametrize("task", ["webqa", "sogouqa"])
def test_the_sample_is_checked_and_counted(clue: Clue, task: str) -> None:
    assert clue("data", "check", task, "--from", "sample").exit_code == 0
    outcome = clue("data", "stats", task, "--from", "sample")
    assert outcome.exit_code == 0 and "train      256" in outcome.stdout


def annotated(count: int) -> bytes:
    one = {"evidence": "首都是北京。", "answer": ["北京"]}
    none = {"evidence": "不知道。", "answer": ["no_answer"]}
    found = {f"Q{n}": {"question": f"{n}？", "evidences": {"a": one, "b": none}} for n in range(count)}
    return json.dumps(found, ensure_ascii=False).encode()


@pytest.mark.parametrize("name", ["me_test.ann.json", "me_test.ann.json.gz", "list.json"])
def test_each_layout_is_converted_with_counts(clue: Clue, tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    raw = annotated(10)
    if name == "list.json":
        passages = [{"passage": "首都是北京。", "answer": "北京"}, {"passage": "不知道。", "answer": ""}]
        ten = [{"id": n, "question": f"{n}？", "passages": passages} for n in range(10)]
        listed(path, *ten, {"id": 11, "passages": []})
    else:
        path.write_bytes(gzip.compress(raw) if name.endswith(".gz") else raw)
    outcome = clue("data", "convert", "webqa", "--from", path, "--output", tmp_path / "out", "--json")
    assert outcome.exit_code == 0, outcome.stderr
    wanted = {"questions": 8, "passages": 16, "with answer": 8, "without answer": 8}
    assert last(outcome)["counts"]["train"] == wanted and last(outcome)["counts"]["dev"]["questions"] == 2
    assert ("1 records without a question" in outcome.stderr) is (name == "list.json")
    assert clue("data", "check", "webqa", "--from", tmp_path / "out").exit_code == 0


def broken(**changes: Any) -> dict[str, Any]:
    return {**RECORD, **changes}


WRONG = [
    (broken(id="2", passages=[{"passage": "", "answer": ""}]), "passage"),
    (broken(id="2", passages=[{"passage": "首都是北京。", "answer": "上海"}]), "上海"),
]


@pytest.mark.parametrize(("record", "says"), WRONG)
def test_wrong_records_are_named_with_their_line(clue: Clue, tmp_path: Path, record: Any, says: str) -> None:
    path = listed(tmp_path / "questions.json", RECORD, record)
    outcome = clue("train", "--task", "webqa", "--data", path, *SMALL, "--output", tmp_path / "run")
    assert outcome.exit_code == 3 and "questions.json:3" in outcome.stderr and says in outcome.stderr
    assert "Traceback" not in outcome.stderr


def test_records_without_a_question_are_left_out_and_without_passages_answered_empty(
    clue: Clue, tmp_path: Path
) -> None:
    questions = [broken(id=str(number)) for number in range(9)]
    path = listed(tmp_path / "q.json", *questions, broken(id="9", passages=[]), {"id": "10", "passages": []})
    whole = [
        one.replace("limit_train=24", "limit_train=null").replace("limit_dev=6", "limit_dev=null")
        for one in SMALL
    ]
    outcome = clue("train", "--task", "sogouqa", "--data", path, *whole, "--output", tmp_path / "run")
    assert outcome.exit_code == 0, outcome.stderr
    assert "1 records without a question" in outcome.stderr
    told = clue("predict", "--run", tmp_path / "run", "--split", path, "--output", tmp_path / "all.jsonl")
    assert told.exit_code == 0, told.stderr
    lines = [json.loads(line) for line in (tmp_path / "all.jsonl").open(encoding="utf-8")]
    assert len(lines) == 10 and {one["id"]: one["prediction"] for one in lines}["9"] == ""


@pytest.mark.parametrize(
    ("content", "says"), [("2 3\n甲 1 2 3\n乙 1 2\n", "vectors.txt:3"), ("0 3\n", "no word")]
)
def test_wrong_word_vectors_are_refused(clue: Clue, tmp_path: Path, content: str, says: str) -> None:
    path = tmp_path / "vectors.txt"
    path.write_text(content, encoding="utf-8")
    arguments = ("train", "--task", "webqa", "--data", "sample", *SMALL, "--output", tmp_path / "run")
    outcome = clue(*arguments, "--set", f"model.word_vectors={path}")
    assert outcome.exit_code == 3 and says in outcome.stderr, outcome.stderr


def test_an_empty_vocabulary_is_refused(clue: Clue, tmp_path: Path) -> None:
    rare = [one.replace("min_count=1", "min_count=1000000") for one in SMALL]
    outcome = clue("train", "--task", "webqa", "--data", "sample", *rare, "--output", tmp_path / "run")
    assert outcome.exit_code == 3 and "the vocabulary is empty" in outcome.stderr


@pytest.mark.real_data
def test_the_sogou_sample_gives_a_submission_that_the_tool_scores(
    clue: Clue, real_data: Path, tmp_path: Path
) -> None:
    file, data = real_data / "dgcnn" / "SogouQA.json", tmp_path / "data"
    converted = clue("data", "convert", "sogouqa", "--from", file, "--output", data)
    assert converted.exit_code == 0 and "1 records without a question" in converted.stderr
    shutil.copyfile(file, data / "test.json")
    outcome = clue("train", "--task", "sogouqa", "--data", data, *SMALL, "--output", tmp_path / "run")
    assert outcome.exit_code == 0, outcome.stderr
    submission = tmp_path / "run" / "submission" / "sogouqa_predict.txt"
    gold = real_data / "dgcnn" / "sogou_scoring"
    scored = clue("evaluate", "--task", "sogouqa", "--predictions", submission, "--gold", gold, "--json")
    assert scored.exit_code == 0, scored.stderr
    assert last(scored)["examples"] == 21 and 0 < last(scored)["scores"]["fuzzy"] < 100
