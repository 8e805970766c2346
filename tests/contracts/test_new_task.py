"""A new dataset of a known kind is one folder and no Python: from a card to a checked submission."""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path

import pytest

BACKEND = os.environ.get("KERAS_BACKEND", "tensorflow")
CARD = """
name: weather
title: {zh: 天气问答, en: weather questions}
version: "1.0"
adapter: classification
metric: accuracy
fields: {ask: string, reply: string}
id_field: number
label_field: fits
labels: [{name: "no"}, {name: "yes"}, {name: maybe}]
template: {parts: ["问{ask}", "{reply}"]}
splits:
  train: {file: train.json, records: [12]}
  dev: {file: dev.json, records: [6]}
  test: {file: test.json, records: [4], labelled: false}
submissions:
  - {split: test, file: weather_predict.json, benchmarks: [own], source: made up here}
max_length: 24
licence: made up
paper: none
"""


@pytest.fixture
def task(tmp_path: Path) -> Path:
    """A folder with a card and an archive in the layout of the official zips."""
    folder = tmp_path / "weather"
    folder.mkdir()
    (folder / "task.yaml").write_text(CARD, encoding="utf-8")
    sizes = {"train.json": 12, "dev.json": 6, "test.json": 4}
    with zipfile.ZipFile(folder / "weather.zip", "w") as archive:
        for name, size in sizes.items():
            lines = []
            for row in range(size):
                record = {"ask": f"第{row}天下雨吗", "reply": f"{name[:2]}第{row}天有雨"}
                record |= (
                    {"number": 70 + row} if name == "test.json" else {"fits": ("no", "yes", "maybe")[row % 3]}
                )
                lines.append(json.dumps(record, ensure_ascii=False))
            archive.writestr(name, "\n".join(lines))
    return folder


def test_one_folder_is_enough(clue, task: Path, tmp_path: Path) -> None:
    data = ("--data", task / "weather.zip")
    assert clue("tasks", "show", task).exit_code == 0
    assert clue("data", "check", task, "--from", task / "weather.zip").exit_code == 0

    run = tmp_path / "run"
    small = ("--model", "test", "--backend", BACKEND, "--set", "train.max_steps=2")
    outcome = clue("train", "--task", task, *data, *small, "--output", run)
    assert outcome.exit_code == 0, outcome.stderr
    lines = (run / "submission" / "weather_predict.json").read_text(encoding="utf-8").split("\n")[:-1]
    answers = [json.loads(line) for line in lines]
    assert [answer["id"] for answer in answers] == [70, 71, 72, 73]
    assert {answer["label"] for answer in answers} <= {"no", "yes", "maybe"}

    checked = clue("submit", "check", run / "submission", *data)
    assert checked.exit_code == 0, checked.stderr
