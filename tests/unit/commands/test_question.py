"""Texts of the command line as records: what each kind of task takes, and which take none."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clue_runner.adapters.base import Prediction, load_adapter
from clue_runner.commands.answers.ask import read_passages
from clue_runner.commands.answers.own_rows import own_rows, row_line, rows_bytes
from clue_runner.commands.answers.question import read_texts, text_fields
from clue_runner.data.cards import find_card
from clue_runner.errors import DataError, UsageError


@pytest.mark.parametrize(
    ("task", "fields"),
    [
        ("afqmc", ("sentence1", "sentence2")),
        ("csl", ("keyword", "abst")),
        ("iflytek", ("sentence",)),
        ("cluener", ("text",)),
        ("cmrc2018", ("text", "question")),
        ("c3", ()),
        ("chid", ()),
        ("webqa", ()),
    ],
)
def test_what_a_task_reads_from_the_command_line(task: str, fields: tuple[str, ...]) -> None:
    card = find_card(task)
    assert text_fields(card) == fields
    texts, pairs = ["一", "二"][: 2 if fields else 1], ["三", "四"] if len(fields) == 2 else []
    if not fields:
        with pytest.raises(UsageError, match="--split FILE"):
            read_texts(card, texts, pairs)
        return
    (records,) = read_texts(card, texts, pairs).records.values()
    rows = own_rows(load_adapter(card), [answer(task, record) for record in records.items], records)
    expected = [("一", "三"), ("二", "四")] if pairs else [("一",), ("二",)]
    assert [row["fields"] for row in rows] == [dict(zip(fields, row, strict=True)) for row in expected]
    assert rows_bytes(rows).count(b"\n") == 2
    assert "一" in row_line(rows[0])


def answer(task: str, record: Any) -> Prediction:
    """Return an answer in the form of the task."""
    card = find_card(task)
    if card.labels and card.layout == "lines":
        probabilities = np.full(len(card.labels), 1 / len(card.labels), np.float32)
        return Prediction(record.id, card.label_names[0], float(probabilities[0]), probabilities)
    return Prediction(record.id, {} if task == "cluener" else "一")


def test_labels_stand_with_their_names() -> None:
    card = find_card("afqmc")
    (records,) = read_texts(card, ["一"], ["二"]).records.values()
    (row,) = own_rows(load_adapter(card), [answer("afqmc", records.items[0])], records)
    assert [(one["label"], one["name"]) for one in row["probabilities"]] == [
        (label.name, label.description) for label in card.labels
    ]
    assert row["label"] == f"0 ({card.labels[0].description})"


def test_bytes_that_are_no_text_are_escaped() -> None:
    card = find_card("iflytek")
    (records,) = read_texts(card, ["一\udcff"], []).records.values()
    rows = own_rows(load_adapter(card), [answer("iflytek", records.items[0])], records)
    assert b"\\udcff" in rows_bytes(rows)


def test_passages_that_are_no_files_are_named_all_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")  # reading one would wait for ever
    (tmp_path / "gbk.txt").write_bytes("你好".encode("gbk"))
    paths = [tmp_path / "pipe", tmp_path / "gbk.txt", tmp_path / "none", Path("~nosuchuser/x"), tmp_path]
    with pytest.raises(DataError) as caught:
        read_passages(paths)
    assert [problem.where.partition(":")[0] for problem in caught.value.problems if problem.where] == [
        str(path) for path in paths
    ]
