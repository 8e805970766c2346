"""A file that is not in the wanted layout is named as what it is, with the command that helps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from clue_runner.data.cards import find_card
from clue_runner.data.layouts import read_records
from clue_runner.data.sources import FolderSource
from clue_runner.errors import DataError

PAIR = {"sentence1": "甲", "sentence2": "乙", "label": "1"}
CMRC = [
    {
        "context_id": "T",
        "context_text": "文",
        "qas": [{"query_id": "Q", "query_text": "?", "answers": ["文"]}],
    }
]
SQUAD = {"data": [{"paragraphs": [{"context": "文", "qas": []}]}]}
ORIGINAL_CHID = {"groundTruth": ["一"], "candidates": [["一", "二"]], "content": "#idiom#", "realCount": 1}
CHID = {"candidates": ["一", "二"], "content": ["#idiom000001#"]}
C3 = [[["文"], [{"question": "?", "choice": ["一", "二"], "answer": "一"}], "d"]]
FLAT = {"id": "1", "context": "文", "question": "?", "answers": {"text": ["文"], "answer_start": [0]}}
CLUENER = {"text": "叶老桂", "label": {"name": {"叶老桂": [[0, 2]]}}}
CONVERT = "clue data convert {task} --from {path} --output DIR"


def lines(*records: Any) -> str:
    return "\n".join(json.dumps(record, ensure_ascii=False) for record in records)


def refused(folder: Path, task: str, content: str | bytes) -> str:
    """The message for a train file of a task that holds something else."""
    path = folder / "own.txt"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    card = find_card(task)
    file = card.splits["train"].file
    answers = folder / "answers.json"
    answers.write_text("{}", encoding="utf-8")
    files = {file: path} | ({"train_answer.json": answers} if task == "chid" else {})
    card = card.model_copy(update={"splits": {"train": card.splits["train"].model_copy(update={"more": []})}})
    with pytest.raises(DataError) as caught:
        read_records(card, FolderSource(str(folder), files), "train")
    assert caught.value.exit_code == 3
    return str(caught.value)


@pytest.mark.parametrize(
    ("task", "content", "named", "helped"),
    [
        ("afqmc", json.dumps([PAIR] * 3), "not JSON lines, but a JSON list of records", CONVERT),
        ("afqmc", json.dumps([PAIR] * 300, indent=2), "not JSON lines, but a JSON list of records", CONVERT),
        ("afqmc", "sentence1,sentence2,label\n" + "甲,乙,1\n" * 9, "not JSON lines, but CSV", CONVERT),
        ("afqmc", "甲\t乙\t1\n" * 9, "not JSON lines, but TSV", CONVERT),
        ("afqmc", ("甲乙\t丙丁\t1\n" * 9).encode("gbk"), "but TSV in GB18030", CONVERT),
        ("afqmc", lines(*[PAIR] * 9).encode("gbk"), "not JSON lines, but JSON lines in GB18030", CONVERT),
        (
            "afqmc",
            json.dumps(SQUAD, indent=1),
            "but SQuAD's layout, as in cmrc2018 and drcd",
            "layout squad",
        ),
        ("afqmc", json.dumps(CMRC), "but CMRC2018's first layout", "give JSON lines"),
        ("afqmc", lines(*[CHID] * 2), "but ChID's layout", "layout chid"),
        ("afqmc", lines(*[CHID] * 30), "but ChID's layout", "layout chid"),
        ("afqmc", lines(*[ORIGINAL_CHID] * 2), "but ChID's original layout", "give JSON lines"),
        ("afqmc", json.dumps(C3), "but C3's layout", "layout c3"),
        ("cluener", "叶 B-name\n老 I-name\n\n", "but characters with their tags", CONVERT),
        (
            "cluener",
            lines({"text": "叶老桂", "label": [[0, 3, "name"]]}),
            "but texts with a list of spans",
            CONVERT,
        ),
        ("cluener", "文本,标签\n" * 9, "not CLUENER's JSON lines, but CSV", "give CLUENER's JSON lines"),
        ("cluener", json.dumps([CLUENER] * 2), "but CLUENER's layout (text, and a label object", CONVERT),
        ("cmrc2018", json.dumps(CMRC), "not SQuAD's layout, but CMRC2018's first layout", CONVERT),
        ("cmrc2018", lines(FLAT, FLAT), "but single SQuAD records", CONVERT),
        ("cmrc2018", lines(PAIR, PAIR), "not SQuAD's layout, but JSON lines", "layout lines"),
        ("c3", lines(PAIR, PAIR), "not C3's layout, but JSON lines", "layout lines"),
        ("c3", json.dumps(SQUAD), "not C3's layout, but SQuAD's layout", "layout squad"),
        (
            "chid",
            lines(ORIGINAL_CHID, ORIGINAL_CHID),
            "not ChID's layout, but ChID's original layout",
            CONVERT,
        ),
        (
            "chid",
            json.dumps([CHID]),
            "but ChID's layout (content with #idiom# tags, candidates) in a JSON list",
            "give ChID",
        ),
        ("webqa", "问题,答案\n" * 9, "not questions with passages, but CSV", "give questions with passages"),
        ("webqa", json.dumps(SQUAD), "not questions with passages, but SQuAD's layout", "layout squad"),
        (
            "afqmc",
            "version https://git-lfs.github.com/spec/v1\noid",
            "not data: a git-lfs pointer",
            "git lfs pull",
        ),
        ("cmrc2018", "<!doctype html>\n<p>404", "not data: a web page", "save the file itself"),
        ("webqa", "<html>", "not data: a web page", "save the file itself"),
        ("c3", b"PK\x03\x04...[Content_Types].xml", "not data: a spreadsheet", "save it as CSV"),
        ("chid", b"\x1f\x8b\x08", "not data: a gzip file", "gunzip"),
    ],
)
def test_a_foreign_file_is_named(
    task: str, content: str | bytes, named: str, helped: str, tmp_path: Path
) -> None:
    text = refused(tmp_path, task, content)
    assert text.startswith(f"{tmp_path}/own.txt: ") and named in text
    assert helped.format(task=task, path=tmp_path / "own.txt") in text
    assert len(text.split("\n")) == 2  # one sentence, not one a line of the file


def test_an_answers_file_that_is_a_pointer_is_named(tmp_path: Path) -> None:
    (tmp_path / "train.json").write_text(lines(CHID), encoding="utf-8")
    (tmp_path / "train_answer.json").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    files = {path.name: path for path in tmp_path.iterdir()}
    with pytest.raises(DataError, match=r"train_answer\.json: not data: a git-lfs pointer"):
        read_records(find_card("chid"), FolderSource("x", files), "train")


def test_single_bad_lines_are_still_listed(tmp_path: Path) -> None:
    text = refused(tmp_path, "afqmc", lines(PAIR, PAIR) + "\n[1]\n甲,乙,1")
    assert "2 bad lines" in text and "own.txt:3: not a JSON object" in text and "own.txt:4: not JSON" in text
    assert "clue data get afqmc" in text


def test_a_users_own_task_is_named_by_its_folder_and_has_nothing_to_download(tmp_path: Path) -> None:
    (tmp_path / "task.yaml").write_text(
        "name: mine\nadapter: classification\nfields: {text: string}\nlabels: [{name: a}, {name: b}]\n"
        "splits: {train: {file: train.json}, dev: {file: dev.json}}\n",
        encoding="utf-8",
    )
    (tmp_path / "train.json").write_text("text,label\n" + "甲,a\n" * 9, encoding="utf-8")
    card = find_card(str(tmp_path))
    source = FolderSource(str(tmp_path), {"train.json": tmp_path / "train.json"})
    with pytest.raises(DataError, match=rf"clue data convert {tmp_path} --from {tmp_path}/train\.json"):
        read_records(card, source, "train")
    (tmp_path / "train.json").write_text('{"text": 1}', encoding="utf-8")
    with pytest.raises(DataError) as caught:
        read_records(card, source, "train")
    assert "clue data get" not in str(caught.value)
