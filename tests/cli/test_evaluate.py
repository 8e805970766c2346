from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clue_runner.adapters.classification import read
from clue_runner.config.shipped import shipped_folder
from clue_runner.data.cards import find_card
from clue_runner.data.locate import locate
from clue_runner.data.records import Records, TextRecord


@pytest.fixture
def gold() -> Records[TextRecord]:
    card = find_card("afqmc")
    return read(card, locate(card, "sample"), "dev")


def write(path: Path, records: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


def answers(gold: Records[TextRecord], key: str = "label", wrong: int = 0) -> list[dict[str, Any]]:
    flip = {"0": "1", "1": "0"}
    return [
        {"id": record.id, key: flip[record.label or ""] if row < wrong else record.label}
        for row, record in enumerate(gold.items)
    ]


def result_of(outcome: Any) -> dict[str, Any]:
    assert outcome.exit_code == 0, outcome.stderr
    return dict(json.loads(outcome.stdout.splitlines()[-1]))


@pytest.mark.parametrize("key", ["label", "prediction"])
def test_gold_scores_100(
    clue: Callable[..., Any], tmp_path: Path, gold: Records[TextRecord], key: str
) -> None:
    path = write(tmp_path / "p.jsonl", answers(gold, key))
    result = result_of(
        clue("evaluate", "--task", "afqmc", "--predictions", path, "--data", "sample", "--json")
    )
    assert result["score"] == 100.0 and result["examples"] == len(gold)
    assert result["matched_by"] == "id" and 0 < result["chance"] < 100


def test_wrong_answers_count(clue: Callable[..., Any], tmp_path: Path, gold: Records[TextRecord]) -> None:
    shuffled = answers(gold, wrong=16)[::-1]
    path = write(tmp_path / "p.jsonl", shuffled)
    result = result_of(
        clue("evaluate", "--task", "afqmc", "--predictions", path, "--data", "sample", "--json")
    )
    assert result["score"] == pytest.approx(100 * (1 - 16 / len(gold)))
    low, high = result["confidence_interval"]
    assert low < result["score"] < high
    said = clue("evaluate", "--task", "afqmc", "--predictions", path, "--data", "sample")
    assert "accuracy" in said.stdout and "chance" in said.stdout and "matched by id" in said.stdout
    assert "precision" in said.stdout


def test_a_gold_file_of_ones_own(clue: Callable[..., Any], tmp_path: Path) -> None:
    pairs = [{"sentence1": "一", "sentence2": "二", "label": label} for label in ("0", "1", "0")]
    gold_file = write(tmp_path / "mine.json", pairs)
    path = write(tmp_path / "p.jsonl", [{"label": "0"}] * 3)
    outcome = clue("evaluate", "--task", "afqmc", "--predictions", path, "--gold", gold_file, "--json")
    result = result_of(outcome)
    assert result["score"] == pytest.approx(200 / 3) and result["matched_by"].startswith("row order")


def test_one_of_two_gold_files_is_enough_where_a_split_is_two(
    clue: Callable[..., Any], tmp_path: Path
) -> None:
    gold_file = shipped_folder("tasks") / "c3" / "sample" / "m-dev.json"
    questions = [one for passage in json.loads(gold_file.read_bytes()) for one in passage[1]]
    right = [{"id": row, "label": one["choice"].index(one["answer"])} for row, one in enumerate(questions)]
    path = write(tmp_path / "p.jsonl", right)
    outcome = clue("evaluate", "--task", "c3", "--predictions", path, "--gold", gold_file, "--json")
    result = result_of(outcome)
    assert result["score"] == 100.0 and result["examples"] == len(questions)
    assert "the official one has" not in outcome.stderr


def test_answers_are_found_beside_the_gold_file_or_asked_for(
    clue: Callable[..., Any], tmp_path: Path
) -> None:
    sample = shipped_folder("tasks") / "chid" / "sample"
    answers_file = sample / "dev_answer.json"
    given = ("evaluate", "--task", "chid", "--predictions", answers_file, "--gold")
    assert result_of(clue(*given, sample / "dev.json", "--json"))["score"] == 100.0
    alone = tmp_path / "dev.json"
    alone.write_bytes((sample / "dev.json").read_bytes())
    outcome = clue(*given, alone)
    assert outcome.exit_code == 3 and "dev_answer.json" in outcome.stderr and "beside it" in outcome.stderr


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda all: all[:-1], "no answer for id"),
        (lambda all: [*all, all[0]], "stands twice, first in line 1"),
        (lambda all: [{**all[0], "label": "2"}, *all[1:]], "p.jsonl:1: not a label of the task, got '2'"),
        (lambda all: [{**all[0], "label": 0}, *all[1:]], "p.jsonl:1: not a label of the task, got 0"),
    ],
)
def test_files_that_do_not_fit(
    clue: Callable[..., Any], tmp_path: Path, gold: Records[TextRecord], change: Any, said: str
) -> None:
    path = write(tmp_path / "p.jsonl", change(answers(gold)))
    outcome = clue("evaluate", "--task", "afqmc", "--predictions", path, "--data", "sample")
    assert outcome.exit_code == 3 and said in outcome.stderr


def test_wrong_arguments(clue: Callable[..., Any], tmp_path: Path) -> None:
    path = write(tmp_path / "p.jsonl", [{"label": "0"}])
    missing = clue("evaluate", "--task", "afqmc", "--predictions", tmp_path / "none", "--data", "sample")
    assert missing.exit_code == 3 and "cannot read the prediction file" in missing.stderr
    no_gold = clue("evaluate", "--task", "afqmc", "--predictions", path, "--gold", tmp_path / "none")
    assert no_gold.exit_code == 3 and "no such gold file" in no_gold.stderr
    both = clue("evaluate", "--task", "afqmc", "--predictions", path, "--gold", path, "--data", "sample")
    assert both.exit_code == 2
    assert clue("evaluate", "--task", "afqcm", "--predictions", path).exit_code == 2


def test_no_backend_is_imported(tmp_path: Path, gold: Records[TextRecord]) -> None:
    path = write(tmp_path / "p.jsonl", answers(gold))
    program = (
        "import sys\nfrom clue_runner.cli.main import run\n"
        f"code = run(['evaluate', '--task', 'afqmc', '--data', 'sample', '--predictions', {str(path)!r}])\n"
        "assert code == 0\n"
        "assert not {'tensorflow', 'jax', 'keras', 'torch'} & {name.split('.')[0] for name in sys.modules}\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)


@pytest.mark.real_data
def test_majority_class_of_afqmc_is_its_chance_score(
    clue: Callable[..., Any], real_data: Path, tmp_path: Path
) -> None:
    path = write(tmp_path / "p.jsonl", [{"id": row, "label": "0"} for row in range(4316)])
    archive = real_data / "official" / "afqmc_public.zip"
    result = result_of(
        clue("evaluate", "--task", "afqmc", "--predictions", path, "--data", archive, "--json")
    )
    assert result["score"] == result["chance"] == pytest.approx(100 * 2978 / 4316)  # 69.0


@pytest.mark.real_data
def test_ocnli_rows_without_agreed_label_may_be_answered(
    clue: Callable[..., Any], real_data: Path, tmp_path: Path
) -> None:
    archive = real_data / "official" / "ocnli_public.zip"
    with zipfile.ZipFile(archive) as members:
        rows = [
            json.loads(line) for line in members.read("dev.json").decode("utf-8").split("\n") if line.strip()
        ]
    usable = [row for row in rows if row["label"] != "-"]
    assert (len(rows), len(usable)) == (3000, 2950)
    for chosen in (rows, usable):
        given = [
            {"id": row["id"], "label": row["label"] if row["label"] != "-" else "neutral"} for row in chosen
        ]
        path = write(tmp_path / "p.jsonl", given)
        result = result_of(
            clue("evaluate", "--task", "ocnli", "--predictions", path, "--data", archive, "--json")
        )
        assert (result["score"], result["examples"]) == (100.0, 2950)
