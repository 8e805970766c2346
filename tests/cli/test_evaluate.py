from __future__ import annotations

import gzip
import json
import os
import random
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clue_runner.adapters.base import load_adapter
from clue_runner.config.shipped import shipped_folder
from clue_runner.data.cards import find_card
from clue_runner.data.locate import locate
from clue_runner.data.records import Records, TextRecord


@pytest.fixture
def gold() -> Records[TextRecord]:
    card = find_card("afqmc")
    return load_adapter(card).read(locate(card, "sample"), "dev")


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
    assert "the official file has" not in outcome.stderr


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
        (lambda all: [*all, all[0]], ", first on line 1"),
        (
            lambda all: [{**all[0], "label": "2"}, *all[1:]],
            "1: the label is not one of the card's, got '2'",
        ),
        (lambda all: [{**all[0], "label": 0}, *all[1:]], "1: the label is not a string, got 0"),
    ],
)
def test_files_that_do_not_fit(
    clue: Callable[..., Any], tmp_path: Path, gold: Records[TextRecord], change: Any, said: str
) -> None:
    path = write(tmp_path / "p.jsonl", change(answers(gold)))
    outcome = clue("evaluate", "--task", "afqmc", "--predictions", path, "--data", "sample")
    assert outcome.exit_code == 3 and said in outcome.stderr


def test_messages_name_the_gold_file_as_it_was_given(
    clue: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = write(Path("p.jsonl"), [{"id": 7, "label": "0"}])
    given = ("evaluate", "--task", "afqmc", "--predictions", path, "--gold")
    record = {"id": 7, "sentence1": "一", "sentence2": "二", "label": "0"}
    Path("own.txt").write_text(json.dumps({**record, "label": "9"}) + "\n", encoding="utf-8")
    broken = clue(*given, "own.txt")
    assert broken.exit_code == 3 and "own.txt:1: " in broken.stderr and "dev.json" not in broken.stderr
    write(Path("own.txt"), [record, {**record, "id": 8}])
    short = clue(*given, "./own.txt")
    assert short.exit_code == 3 and "own.txt:2: no answer for id 8" in short.stderr
    assert "dev.json" not in short.stderr
    write(Path("own.txt"), [record])
    result = result_of(clue(*given, "own.txt", "--json"))
    assert result["gold"] == "own.txt"
    assert "against own.txt, matched by id" in clue(*given, "own.txt").stdout


def test_messages_name_both_files_of_idiom_gold(
    clue: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    sample = shipped_folder("tasks") / "chid" / "sample"
    Path("mine.json").write_bytes((sample / "dev.json").read_bytes())
    answers = json.loads((sample / "dev_answer.json").read_bytes())
    first = next(iter(answers))
    Path("mine_answer.json").write_text(json.dumps({**answers, first: 99}), encoding="utf-8")
    path = sample / "dev_answer.json"
    outcome = clue("evaluate", "--task", "chid", "--predictions", path, "--gold", "mine.json")
    assert outcome.exit_code == 3 and "mine.json:1" in outcome.stderr
    assert first in outcome.stderr and "error: 1 bad record in mine.json" in outcome.stderr


@pytest.mark.parametrize("as_gold", [int, str])
@pytest.mark.parametrize("as_given", [int, str])
def test_a_number_and_its_text_are_one_id(
    clue: Callable[..., Any], tmp_path: Path, as_gold: type, as_given: type
) -> None:
    labels = {11: "0", 7: "1", 9: "0"}
    pairs = [
        {"id": as_gold(name), "sentence1": "一", "sentence2": "二", "label": one}
        for name, one in labels.items()
    ]
    gold_file = write(tmp_path / "own.json", pairs)
    given = [{"id": as_given(name), "label": labels[name]} for name in sorted(labels)]
    path = write(tmp_path / "p.jsonl", given)
    command = ("evaluate", "--task", "afqmc", "--predictions", path, "--gold", gold_file)
    result = result_of(clue(*command, "--json"))
    assert (result["score"], result["matched_by"]) == (100.0, "id")
    write(path, [*given, {"id": str(given[0]["id"]), "label": "1"}])
    twice = clue(*command)
    assert twice.exit_code == 3 and "p.jsonl:4: duplicate id 7, first on line 1" in twice.stderr


N_BEST = [{"text": "甲", "probability": 0.9}, {"text": "乙", "probability": 0.1}]


def reading_gold(task: str) -> dict[str, str]:
    """Id -> first reference of the sample's dev questions."""
    document = json.loads((shipped_folder("tasks") / task / "sample" / "dev.json").read_bytes())
    questions = [
        question
        for article in document["data"]
        for paragraph in article["paragraphs"]
        for question in paragraph["qas"]
    ]
    return {question["id"]: question["answers"][0]["text"] for question in questions}


@pytest.mark.parametrize("task", ["cmrc2018", "drcd"])
@pytest.mark.parametrize("value", [None, 7, True, ["甲"], [["甲"]], N_BEST, {"text": "甲"}])
def test_only_texts_are_scored_as_texts(
    clue: Callable[..., Any], tmp_path: Path, task: str, value: object
) -> None:
    gold = reading_gold(task)
    path = tmp_path / "nbest_predictions.json"
    path.write_text(json.dumps({**gold, next(iter(gold)): value}), encoding="utf-8")
    outcome = clue("evaluate", "--task", task, "--predictions", path, "--data", "sample")
    assert outcome.exit_code == 3 and "nbest_predictions.json:1: " in outcome.stderr
    if value == N_BEST:
        assert "this is an n-best file" in outcome.stderr and "give predictions.json" in outcome.stderr
        path.write_text(json.dumps({"ANOTHER_ID": value}), encoding="utf-8")
        other = clue("evaluate", "--task", task, "--predictions", path, "--data", "sample")
        assert "this is an n-best file" in other.stderr
    else:
        assert "the answer is not a string" in outcome.stderr


@pytest.mark.parametrize("task", ["cmrc2018", "drcd"])
def test_a_part_is_scored_as_the_published_script_does(
    clue: Callable[..., Any], tmp_path: Path, task: str
) -> None:
    gold = reading_gold(task)
    assert len(gold) > 3
    part = dict(list(gold.items())[:-2])
    path = tmp_path / "p.json"
    path.write_text(json.dumps({**part, "ELSEWHERE": "甲"}), encoding="utf-8")
    whole = clue("evaluate", "--task", task, "--predictions", path, "--data", "sample")
    assert whole.exit_code == 3 and "no answer for id" in whole.stderr
    path.write_text(json.dumps(part), encoding="utf-8")
    whole = clue("evaluate", "--task", task, "--predictions", path, "--data", "sample")
    assert whole.exit_code == 3 and "--partial counts each question without an answer as 0" in whole.stderr
    path.write_text(json.dumps({**part, "ELSEWHERE": "甲"}), encoding="utf-8")
    given = ("evaluate", "--task", task, "--predictions", path, "--data", "sample", "--partial")
    result = result_of(clue(*given, "--json"))
    assert (
        result["scores"]["exact_match"]
        == result["scores"]["f1"]
        == pytest.approx(100 * len(part) / len(gold))
    )
    assert (result["unanswered"], result["examples"]) == (2, len(gold))
    said = clue(*given).stderr
    assert f"2 of {len(gold)} questions have no answer and count 0" in said
    assert "1 answers to ids that the gold records do not have were ignored" in said


def test_an_empty_answer_is_not_an_unanswered_question(clue: Callable[..., Any], tmp_path: Path) -> None:
    # the reference is punctuation alone, so that an empty text equals it once punctuation is gone
    answer = {"text": "《》", "answer_start": 0}
    question = {"id": "Q", "question": "问", "answers": [answer]}
    other = {"id": "R", "question": "问", "answers": [{"text": "文", "answer_start": 2}]}
    gold = tmp_path / "gold.json"
    data = {"data": [{"paragraphs": [{"context": "《》文", "qas": [question, other]}]}]}
    gold.write_text(json.dumps(data, ensure_ascii=False), encoding="utf-8")
    given = ("evaluate", "--task", "cmrc2018", "--gold", gold, "--partial", "--json", "--predictions")
    for answers, score in (({"Q": "", "R": "文"}, 100.0), ({"R": "文"}, 50.0)):
        path = tmp_path / "p.json"
        path.write_text(json.dumps(answers), encoding="utf-8")
        assert result_of(clue(*given, path))["scores"]["exact_match"] == score


def test_a_part_is_for_reading_tasks_with_ids(
    clue: Callable[..., Any], tmp_path: Path, gold: Records[TextRecord]
) -> None:
    path = write(tmp_path / "p.jsonl", answers(gold))
    other = clue("evaluate", "--task", "afqmc", "--predictions", path, "--data", "sample", "--partial")
    assert other.exit_code == 2 and "cmrc2018, drcd" in other.stderr
    for lines, says in (
        ([{"label": "甲"}], "these have none"),
        ([{"id": "X", "label": "甲"}], "is not in"),
    ):
        path = write(tmp_path / "p.jsonl", lines)
        outcome = clue("evaluate", "--task", "drcd", "--predictions", path, "--data", "sample", "--partial")
        assert outcome.exit_code == 3 and says in outcome.stderr


def test_only_regular_files_are_taken_for_predictions_and_gold(
    clue: Callable[..., Any], tmp_path: Path, gold: Records[TextRecord]
) -> None:
    good = write(tmp_path / "p.jsonl", answers(gold))
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, "/dev/zero", tmp_path / ("x" * 300), "~no-such-user-here/p"):
        for given in (("--predictions", path, "--data", "sample"), ("--predictions", good, "--gold", path)):
            outcome = clue("evaluate", "--task", "afqmc", *given)
            assert outcome.exit_code == 3, (given, outcome.stderr)
            assert "bug" not in outcome.stderr and str(path)[:40] in outcome.stderr, outcome.stderr


KIT_RECORD = {"evidences": [{"evidence_tokens": ["a", "b"], "golden_answers": [["a"]]}]}


def test_damaged_gold_of_the_kit_is_one_error_with_the_path(clue: Callable[..., Any], tmp_path: Path) -> None:
    tags = tmp_path / "tags.txt"
    tags.write_text("0;\n2;\n", encoding="utf-8")
    path = tmp_path / "gold.json.gz"
    whole = gzip.compress(json.dumps(KIT_RECORD).encode() + b"\n" * 5000)
    given = ("evaluate", "--task", "webqa", "--predictions", tags, "--gold", path)
    path.write_bytes(whole)
    assert clue(*given).exit_code == 0
    generator = random.Random(42)
    for _ in range(60):
        place = generator.randrange(len(whole))
        raw = whole[:place] if generator.random() < 0.3 else bytearray(whole)
        if isinstance(raw, bytearray):
            raw[place] ^= 1 << generator.randrange(8)
        path.write_bytes(bytes(raw))
        outcome = clue(*given)
        assert outcome.exit_code in {0, 3}, outcome.stderr
        assert outcome.exit_code == 0 or "gold.json.gz" in outcome.stderr, outcome.stderr


@pytest.mark.parametrize(
    "record",
    [
        [],
        1,
        {"evidences": {}},
        {"evidences": [1]},
        {"evidences": [{"evidence_tokens": [1], "golden_answers": [["a"]]}]},
        {"evidences": [{"evidence_tokens": "ab", "golden_answers": [["a"]]}]},
        {"evidences": [{"evidence_tokens": ["a", "b"], "golden_answers": ["a"]}]},
        {"evidences": [{"evidence_tokens": ["a", "b"], "golden_answers": [[None]]}]},
        {"evidences": [{"evidence_tokens": ["a", "b"], "golden_answers": None}]},
    ],
)
def test_other_shapes_of_the_kits_gold(clue: Callable[..., Any], tmp_path: Path, record: object) -> None:
    tags, gold_file = tmp_path / "tags.txt", tmp_path / "gold.json"
    tags.write_text("0;\n2;\n", encoding="utf-8")
    text = json.dumps(KIT_RECORD) + "\n" + json.dumps(record) + "\n"
    gold_file.write_text(text, encoding="utf-8")
    outcome = clue("evaluate", "--task", "webqa", "--predictions", tags, "--gold", gold_file)
    assert outcome.exit_code == 3 and "gold.json:2: not a question of WebQA's kit" in outcome.stderr


@pytest.mark.parametrize("line", ["1" * 5000, "[" * 100_000, "{", '{"a": 1}'])
def test_lines_of_the_kits_gold_that_are_no_json(clue: Callable[..., Any], tmp_path: Path, line: str) -> None:
    tags, gold_file = tmp_path / "tags.txt", tmp_path / "gold.json"
    tags.write_text("0;\n2;\n", encoding="utf-8")
    gold_file.write_text(json.dumps(KIT_RECORD) + "\n" + line + "\n", encoding="utf-8")
    outcome = clue("evaluate", "--task", "webqa", "--predictions", tags, "--gold", gold_file)
    assert outcome.exit_code == 3 and "gold.json:2: not " in outcome.stderr


@pytest.fixture
def sogou(tmp_path: Path) -> Path:
    """A made-up folder of the Sogou tool's gold: three questions."""
    folder = tmp_path / "tool"
    folder.mkdir()
    (folder / "punctuation").write_text("、\n", encoding="utf-8")
    rows = "1\t北京\t北京|京\n2\t上海\t上海\n3\t南京\t南京\n"
    (folder / "qid_answer_expand").write_text(rows, encoding="utf-8")
    return folder


def test_the_sogou_tools_answers_must_be_texts_once_each(
    clue: Callable[..., Any], tmp_path: Path, sogou: Path
) -> None:
    given = ("evaluate", "--task", "sogouqa", "--gold", sogou, "--predictions")
    for value, says in (
        (None, "is not a string"),
        (["北京"], "is not a string"),
        (N_BEST, "n-best file"),
    ):
        path = write(tmp_path / "p.jsonl", [{"id": 1, "label": value}])
        outcome = clue(*given, path)
        assert outcome.exit_code == 3 and says in outcome.stderr and "p.jsonl:1" in outcome.stderr
    path = tmp_path / "p.txt"
    path.write_text("1\t北京\n1\t北京\n", encoding="utf-8")
    twice = clue(*given, path)
    assert twice.exit_code == 3 and "p.txt:2: duplicate id" in twice.stderr
    path.write_text("1\t北京\n", encoding="utf-8")
    part = clue(*given, path)
    assert part.exit_code == 0 and "2 of 3 questions have no answer" in part.stderr


def test_the_sogou_tools_files_may_be_broken(clue: Callable[..., Any], tmp_path: Path, sogou: Path) -> None:
    path = tmp_path / "p.txt"
    path.write_text("1\t北京\n", encoding="utf-8")
    given = ("evaluate", "--task", "sogouqa", "--gold", sogou, "--predictions", path)
    (sogou / "punctuation").write_bytes("、\n".encode("gb18030"))
    encoded = clue(*given)
    assert encoded.exit_code == 3 and "punctuation:1: the file is not UTF-8" in encoded.stderr
    (sogou / "punctuation").unlink()
    os.mkfifo(sogou / "punctuation")
    pipe = clue(*given)
    assert pipe.exit_code == 3 and "not a regular file" in pipe.stderr
    (sogou / "punctuation").unlink()
    none = clue(*given)
    assert none.exit_code == 3 and "has no file punctuation" in none.stderr


def test_wrong_arguments(clue: Callable[..., Any], tmp_path: Path) -> None:
    path = write(tmp_path / "p.jsonl", [{"label": "0"}])
    missing = clue("evaluate", "--task", "afqmc", "--predictions", tmp_path / "none", "--data", "sample")
    assert missing.exit_code == 3 and "cannot read the file" in missing.stderr
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
