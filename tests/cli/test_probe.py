"""``clue probe`` as a command: its files, both languages, and input that cannot be meant."""

from __future__ import annotations

import json
import os
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

BACKEND = os.environ.get("KERAS_BACKEND", "tensorflow")
CASE = ("--task", "tnews", "--data", "sample", "--steps", "60", "--batch-size", "4", "--backend", BACKEND)


def test_a_probe_of_the_sample(clue, tmp_path: Path) -> None:
    schedules = [part for text in ("inverse-sqrt", "optimal", "cosine") for part in ("--schedule", text)]
    outcome = clue("probe", *CASE, *schedules, "--language", "zh", "--output", tmp_path / "out", "--json")
    assert outcome.exit_code == 0, outcome.stderr
    said = json.loads(outcome.stdout.strip().split("\n")[-1])
    kept = json.loads((tmp_path / "out" / "probe.json").read_text(encoding="utf-8"))
    assert {name: said[name] for name in kept} == kept
    assert kept["best"]["certified"] and kept["backend"] == BACKEND and not kept["data_complete"]
    assert [(one["schedule"], one["bound_vacuous"]) for one in kept["schedules"]] == [
        ("inverse-sqrt", False),
        ("optimal", False),
        ("cosine", True),
    ]
    assert all(one["holds"] for one in kept["schedules"])
    steps = (tmp_path / "out" / "steps" / "optimal.jsonl").read_text(encoding="utf-8").strip().split("\n")
    rows = [json.loads(line) for line in steps]
    assert len(rows) == 60 and rows[-1]["regret"] == kept["schedules"][1]["regret"]
    assert all(row["regret"] <= row["bound"] and row["G_seen"] <= row["G"] for row in rows)
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "平均损失定理" in page and page.count("<figure>") == 3 and "上界无意义" in page
    assert not re.search(r'(?:src|href)="https?:', page)
    ElementTree.parse(tmp_path / "out" / "regret.svg")


def test_frozen_vectors_of_a_network_in_place_of_ngrams(clue, tmp_path: Path) -> None:
    """Random weights do: the theorem asks for a convex loss of the linear layer, not for good features."""
    settings = ("--features", "tiny", "--schedule", "optimal", "--schedule", "constant:1")
    found = {}
    for pooling in ("mean", "pooler"):
        folder = tmp_path / pooling
        outcome = clue(
            "probe", *CASE, *settings, "--pooling", pooling, "--language", "en", "--output", folder
        )
        assert outcome.exit_code == 0, outcome.stderr
        assert f"vectors of tiny (random weights, {pooling}) in 313 columns" in outcome.stdout
        kept = found[pooling] = json.loads((folder / "probe.json").read_text(encoding="utf-8"))
        assert kept["best"]["certified"] and all(one["holds"] for one in kept["schedules"])
        assert kept["schedules"][0]["greatest_gradient_seen"] <= kept["G"]
        facts = {"kind": "frozen", "weights": "random", "pooling": pooling, "precision": "float32"}
        assert facts.items() <= kept["features"].items()
        page = (folder / "report.html").read_text(encoding="utf-8")
        assert f"vectors of tiny ({pooling}, frozen, random weights)" in page
    assert found["mean"]["best"]["loss"] != found["pooler"]["best"]["loss"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--task", "cluener"), "takes tasks with one label"),
        (("--task", "tnews", "--schedule", "cosin"), "cosin"),
        (("--task", "tnews", "--schedule", "optimal", "--schedule", "optimal"), "twice"),
        (("--task", "tnews", "--steps", "0"), "--steps"),
        (("--task", "tnews", "--radius", "nan"), "--radius"),
        (("--task", "tnews", "--radius", "0"), "--radius"),
        (("--task", "tnews", "--pooling", "mean"), "--features MODEL"),
        (("--task", "tnews", "--features", "tiny", "--pooling", "men"), "men"),
        (("--task", "tnews", "--features", "tniy"), "no model called 'tniy'"),
        (("--task", "tnews", "--features", "dgcnn"), "needs an encoder"),
    ],
)
def test_input_that_cannot_be_meant(clue, tmp_path: Path, arguments: tuple[str, ...], words: str) -> None:
    outcome = clue("probe", *arguments, "--data", "sample", "--output", tmp_path / "out")
    assert outcome.exit_code == 2
    assert words in outcome.stderr and "Traceback" not in outcome.stderr
    assert outcome.stderr.count("error:") == 1
    assert not (tmp_path / "out").exists()
