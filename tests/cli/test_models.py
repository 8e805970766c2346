"""``clue models``: presets, their sizes, how to get their weights."""

import json
from pathlib import Path


def test_list(clue, clue_home: Path) -> None:
    (clue_home / "models" / "rbt3").mkdir(parents=True)
    rows = {line.split()[0]: line for line in clue("models").stdout.split("\n") if line.strip()}
    assert "random weights" in rows["tiny"]
    assert "checkpoint available" in rows["rbt3"]
    assert "no checkpoint here" in rows["roberta-wwm-ext"]
    assert "102.3 M" in rows["roberta-wwm-ext"]


def test_show_says_how_to_get_the_checkpoint(clue, clue_home: Path) -> None:
    text = clue("models", "show", "macbert-base").stdout
    for expected in (
        "hfl/chinese-macbert-base",
        "github.com/ymcui/MacBERT",
        str(clue_home / "models" / "macbert-base"),
    ):
        assert expected in text
    facts = json.loads(clue("models", "show", "macbert-base", "--json").stdout)
    assert facts["local"] is False
    assert len(facts["ways_to_get"]) == 4
    (clue_home / "models" / "macbert-base").mkdir(parents=True)
    assert "ways to get it" not in clue("models", "show", "macbert-base").stdout


def test_published_scores_are_those_of_the_cards(clue) -> None:
    facts = json.loads(clue("models", "show", "roberta-wwm-ext", "--json").stdout)
    wanted = {"task": "afqmc", "split": "test", "score": 74.04, "source": "CLUE README"}
    assert any(wanted.items() <= one.items() for one in facts["scores"])
    text = clue("models", "show", "roberta-wwm-ext").stdout
    assert "74.04  CLUE README" in text and "Apache-2.0" in text
    assert "not recorded here" in clue("models", "show", "bert-wwm").stdout
    rows = {line.split()[0]: line for line in clue("models").stdout.split("\n") if line.strip()}
    assert (
        "afqmc 74.04 (test)" in rows["roberta-wwm-ext"]
        and "hfl/chinese-roberta-wwm-ext" in rows["roberta-wwm-ext"]
    )
    assert json.loads(clue("models", "show", "rbt3", "--json").stdout)["scores"] == []


def test_list_as_json(clue) -> None:
    lines = [json.loads(line) for line in clue("models", "--json").stdout.split("\n")[:-1]]
    assert lines[-1]["event"] == "result"
    assert {line["kind"] for line in lines[:-1]} == {"random", "published", "shipped"}
