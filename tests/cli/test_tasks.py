"""``clue tasks``: the list and one card, read from cards alone."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

CARD = """\
name: mine
adapter: classification
fields: {sentence: string}
labels: [{name: "a"}, {name: "b"}]
splits: {train: {file: train.json}, dev: {file: dev.json}}
"""


def test_list(clue, clue_home: Path) -> None:
    (clue_home / "data" / "ocnli").mkdir(parents=True)
    (clue_home / "data" / "ocnli" / "dev.json").write_text("{}\n", encoding="utf-8")
    (clue_home / "data" / "tnews").mkdir()
    outcome = clue("tasks")
    assert outcome.exit_code == 0
    rows = {line.split()[0]: line.split() for line in outcome.stdout.split("\n") if line.strip()}
    assert rows["afqmc"][:8] == [
        "afqmc",
        "pair",
        "34,334",
        "4,316",
        "3,861",
        "accuracy",
        "no",
        "蚂蚁金融语义相似度",
    ]
    assert rows["cluewsc2020"][4] == "2,574/290"
    assert rows["ocnli"][6] == "yes"
    assert rows["tnews"][6] == "no"


def test_list_as_json(clue) -> None:
    lines = [json.loads(line) for line in clue("tasks", "--json").stdout.split("\n")[:-1]]
    assert all(line.pop("time") for line in lines)
    assert lines[-1] == {"event": "result", "ok": True, "tasks": len(lines) - 1}
    assert {"afqmc", "tnews", "iflytek", "cmnli", "ocnli", "cluewsc2020", "csl"} <= {
        line.get("name") for line in lines
    }
    assert lines[0]["records"] == {"train": 34334, "dev": 4316, "test": 3861}


def test_show(clue) -> None:
    outcome = clue("tasks", "show", "afqmc")
    assert outcome.exit_code == 0
    for expected in (
        "蚂蚁金融语义相似度",
        "afqmc_predict.json",
        "34,334 records",
        "clue train --task afqmc --data sample",
    ):
        assert expected in outcome.stdout
    card = json.loads(clue("tasks", "show", "afqmc", "--json").stdout)
    assert (card["name"], card["labels"][1]["name"], card["kind"]) == ("afqmc", "1", "pair")


def test_show_takes_a_folder(clue, tmp_path: Path) -> None:
    assert clue("tasks", "show", tmp_path).exit_code == 2


def test_litter_is_no_data(clue, clue_home: Path) -> None:
    (clue_home / "data" / "ocnli").mkdir(parents=True)
    (clue_home / "data" / "ocnli" / "Thumbs.db").write_bytes(b"x")
    rows = {line.split()[0]: line.split() for line in clue("tasks").stdout.split("\n") if line.strip()}
    assert rows["ocnli"][6] == "no"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("", "metrik: accuracy\n", "6: metrik: no such key, did you mean metric?"),
        ("", "metric: acuracy\n", "6: metric: no score called 'acuracy', did you mean accuracy?"),
        ("classification", "clasification", "2: adapter: no such kind of task, did you mean classification?"),
        ('{name: "b"}', "{name: 1}", "4: labels.1.name"),
        (', {name: "b"}', "", "4: labels: 1 labels, classification needs 2 or more"),
        ("train: {", "../../train: {", "5: splits.../../train"),
        ("", "recommended: {train: {epocs: 3}}\n", "6: train.epocs: no such setting"),
        ("", "template: {parts: ['{sentense}']}\n", "6: template: the template reads 'sentense'"),
        ("adapter:", "adapter", "3:1: could not find expected ':'"),
    ],
)
def test_check_show_and_train_refuse_the_same_card(
    old: str, new: str, said: str, clue, tmp_path: Path
) -> None:
    text = CARD.replace(old, new) if old else CARD + new
    (tmp_path / "task.yaml").write_text(text, encoding="utf-8")
    for command in (
        ("config", "check", tmp_path / "task.yaml"),
        ("config", "check", tmp_path),
        ("tasks", "show", tmp_path),
        ("train", "--task", tmp_path, "--model", "test"),
    ):
        outcome = clue(*command)
        assert outcome.exit_code == 2, command
        assert said in outcome.stderr, command
        assert said[:1] not in "123456" or f"task.yaml:{said}" in outcome.stderr


def test_check_show_and_train_take_the_least_card(clue, tmp_path: Path) -> None:
    (tmp_path / "task.yaml").write_text(CARD, encoding="utf-8")
    for file in ("train.json", "dev.json"):
        lines = [json.dumps({"sentence": f"第{number}句", "label": "ab"[number % 2]}) for number in range(8)]
        (tmp_path / file).write_text("\n".join(lines), encoding="utf-8")
    for command in (
        ("config", "check", tmp_path / "task.yaml"),
        ("tasks", "show", tmp_path),
        ("data", "check", tmp_path),
        ("train", "--task", tmp_path, "--model", "test", "--dry-run"),
    ):
        outcome = clue(*command)
        assert outcome.exit_code == 0, (command, outcome.stderr)
    shown = clue("tasks", "show", tmp_path).stdout
    assert "licence" not in shown and "0 or" not in shown and "ships" not in shown
    assert "--data sample" not in shown and f"clue train --task {tmp_path}" in shown


def test_the_list_needs_click_pydantic_and_yaml_alone(tmp_path: Path) -> None:
    """A wheel is tried out with these three (``make wheel``)."""
    code = (
        "import sys\n"
        "for name in ('numpy', 'requests', 'pooch', 'rich', 'tokenizers', 'safetensors', 'scipy'):\n"
        "    sys.modules[name] = None\n"
        "from clue_runner.cli.main import run\n"
        "sys.exit(run(['tasks']) or run(['tasks', 'show', 'afqmc']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
