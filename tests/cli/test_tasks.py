"""``clue tasks``: the list and one card, read from cards alone."""

import json
from pathlib import Path


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
