"""A made-up task with two test versions, label codes with a gap, and four records each."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from clue_runner.adapters.sections import load_run
from clue_runner.config.loader import config_hash, dump_run
from clue_runner.data.cards import Card, load_card
from clue_runner.data.locate import open_source
from clue_runner.data.readers.text import read_text_records
from clue_runner.data.records import Records, TextRecord
from clue_runner.files.atomic import write_json

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
MakeRun = Callable[..., Path]
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


@pytest.fixture
def make_run(card: Card, tmp_path: Path) -> MakeRun:
    """Write the folder of a run as training leaves it, without weights."""

    def make(
        place: str,
        *,
        model: str = "bert-base",
        init: str = "checkpoint",
        seed: int = 42,
        score: float | None = 70.0,
        ok: bool = True,
        complete: bool | None = True,
        data: str | None = None,
        weights: str = "w" * 64,
        train: str = "t" * 64,
        settings: tuple[str, ...] = (),
        files: dict[str, bytes] | None = None,
        written: int = 1_000,
    ) -> Path:
        folder = tmp_path / "runs" / place
        (folder / "submission").mkdir(parents=True)
        run = load_run(
            task=str(card.folder),
            card_settings={"data": {"max_length": 16}},
            overrides=[f"model.init={init}", *settings],
            flags={"seed": seed},
        )
        run = run.model_copy(update={"model": run.model.model_copy(update={"name": model})})
        (folder / "run.yaml").write_text(dump_run(run), encoding="utf-8")
        start = {"event": "start", "schema": 2, "step": 0, "data": data}
        (folder / "events.jsonl").write_text(json.dumps(start) + "\n", encoding="utf-8")
        if score is not None or not ok:
            write_json(folder / "metrics.json", {
                "schema": 2, "ok": ok, "task": card.name, "card_version": "1.1", "model": model,
                "checkpoint": None if init == "random" else {"path": "/x", "sha256": weights}, "init": init,
                "seed": seed, "batch_size": 8, "split": "dev", "metric": "accuracy", "score": score,
                "scores": {} if score is None else {"accuracy": score},
                "confidence_interval": None if score is None else [score - 1, score + 1],
                "chance": None if score is None else 33.0, "examples": None if score is None else 3,
                "data_complete": complete, "backend": "tensorflow", "data_sha256": {"train": train},
                "config_sha256": config_hash(run), "commit": None, "versions": {},
            })  # fmt: skip
        for name, raw in (files or {}).items():
            file = folder / "submission" / name
            file.write_bytes(raw)
            os.utime(file, (written, written))
        return folder

    return make
