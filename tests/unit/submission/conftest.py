"""A made-up task with two test versions, label codes with a gap, and four records each."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from clue_runner.data.cards import Card, load_card
from clue_runner.data.locate import open_source
from clue_runner.data.readers.text import read_text_records
from clue_runner.data.records import Records, TextRecord

CARD = """
name: topics
title: {zh: 主题, en: topics}
version: "1.1"
adapter: classification
fields: {sentence: string}
id_field: id
labels:
  - {name: "100", description: 故事 news_story}
  - {name: "102", description: 娱乐 news_entertainment}
  - {name: "103", description: 体育 news_sports}
template: {parts: ["{sentence}"]}
metric: accuracy
splits:
  train: {file: train.json, records: [2]}
  dev: {file: dev.json, records: [3]}
  test1.1: {file: test.json, records: [4], labelled: false}
  test1.0: {file: test1.0.json, records: [3], labelled: false}
submissions:
  - split: test1.1
    file: topics11_predict.json
    benchmarks: [clue1.1]
    source: made up
    wrong_names: {topic_old.json: scored 0 in a made-up thread}
  - split: test1.0
    file: topics10_predict.json
    benchmarks: [clue1.0]
    source: made up
    wrong_names: {topic_old.json: scored 0 in a made-up thread}
max_length: 16
licence: none
paper: none
sample: {records: {train: 2, dev: 2, test1.1: 2, test1.0: 2}, learnable_by: nothing}
"""
TEST_11 = [7, 5, 9, 0]
TEST_10 = [1, 2, 3]


@pytest.fixture
def card(tmp_path: Path) -> Card:
    folder = tmp_path / "tasks" / "topics"
    folder.mkdir(parents=True)
    (folder / "task.yaml").write_text(CARD, encoding="utf-8")
    return load_card(folder)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    for name, ids in (("test.json", TEST_11), ("test1.0.json", TEST_10)):
        lines = [json.dumps({"id": one, "sentence": f"第{one}句"}, ensure_ascii=False) for one in ids]
        (folder / name).write_text("\n".join(lines), encoding="utf-8")
    return folder


@pytest.fixture
def records(card: Card, data: Path) -> Records[TextRecord]:
    return read_text_records(card, open_source(data, card), "test1.1")


@pytest.fixture
def old_records(card: Card, data: Path) -> Records[TextRecord]:
    return read_text_records(card, open_source(data, card), "test1.0")
