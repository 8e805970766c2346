"""Files of running text: what is a document, in each packing; what is wrong is said with its line."""

from __future__ import annotations

import gzip
import json
import lzma
from collections.abc import Callable
from pathlib import Path

import pytest

from clue_runner.adapters.base import load_adapter
from clue_runner.data.cards import all_cards, find_card
from clue_runner.data.locate import locate
from clue_runner.data.texts import documents
from clue_runner.data.texts.documents import FileTexts
from clue_runner.data.texts.records import task_texts
from clue_runner.data.texts.source import RowNumbers, TokenSource, TokenSplit, read_token_rows
from clue_runner.errors import DataError, UsageError

TEXT = "\ufeff第一段。\r\n第二段。\n\n\n  \n另一篇。\n末行没有换行"
FOUND = [["第一段。", "第二段。"], ["另一篇。", "末行没有换行"]]
PACKINGS: dict[str, Callable[[bytes], bytes]] = {
    "": lambda raw: raw,
    ".gz": gzip.compress,
    ".xz": lzma.compress,
}


def read(path: Path, field: str = "text") -> list[list[str]]:
    return [list(one) for one in FileTexts(path, field).documents()]


@pytest.mark.parametrize("packing", PACKINGS)
def test_documents_end_at_empty_lines(tmp_path: Path, packing: str) -> None:
    path = tmp_path / f"text.txt{packing}"
    path.write_bytes(PACKINGS[packing](TEXT.encode()))
    assert read(path) == FOUND
    assert FileTexts(path).sha256 == FileTexts(path).sha256 and FileTexts(path).label == path.name


@pytest.mark.parametrize("packing", PACKINGS)
def test_a_json_line_is_a_document(tmp_path: Path, packing: str) -> None:
    lines = [{"id": 1, "body": "甲\n\n乙"}, {"body": ""}, {"body": "丙"}]
    raw = "\n".join(json.dumps(line, ensure_ascii=False) for line in lines).encode()
    path = tmp_path / f"text.jsonl{packing}"
    path.write_bytes(PACKINGS[packing](raw))
    assert read(path, "body") == [["甲", "乙"], ["丙"]]
    with pytest.raises(DataError, match=r"no text under 'text'") as caught:
        read(path)
    assert ":1" in str(caught.value) and "id, body" in str(caught.value) and "--field" in str(caught.value)


def test_what_is_too_long_is_cut_into_several(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "LONGEST", 10)
    monkeypatch.setattr(documents, "PIECE", 8)  # a character of three bytes is cut by the pieces
    path = tmp_path / "long.txt"
    path.write_text("天地玄黄宇宙洪荒" * 4 + "\n日月\n", encoding="utf-8")
    found = read(path)
    assert "".join(text for one in found for text in one) == "天地玄黄宇宙洪荒" * 4 + "日月"
    assert max(sum(map(len, one)) for one in found) <= 10


@pytest.mark.parametrize(
    ("name", "raw", "message", "line"),
    [
        ("a.txt", "好\n好".encode() + b"\xff\xfe\n", "not UTF-8", 2),
        ("a.txt", "好\n".encode() + "好".encode()[:2], "not UTF-8", 2),
        ("a.txt", "第一行\n第二行".encode("gb18030"), "not UTF-8", 1),
        ("a.jsonl", b'{"text": "x"}\n[1]\n', "no text under", 2),
        ("a.jsonl", b'{"text": 1}\n', "no text under", 1),
        ("a.jsonl", b'{"text": "x"\n', "not a JSON object", 1),
    ],
)
def test_what_is_wrong_is_said_with_its_line(
    tmp_path: Path, name: str, raw: bytes, message: str, line: int
) -> None:
    path = tmp_path / name
    path.write_bytes(raw)
    with pytest.raises(DataError, match=message) as caught:
        read(path)
    assert f"{path}:{line}" in str(caught.value)


@pytest.mark.parametrize("packing", [".gz", ".xz"])
def test_a_packed_file_that_is_cut_off_is_damage(tmp_path: Path, packing: str) -> None:
    path = tmp_path / f"text.txt{packing}"
    whole = PACKINGS[packing](("天地玄黄，宇宙洪荒。" * 500).encode())
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="damaged or cut off"):
        read(path)
    path.write_bytes(b"no packing at all")
    with pytest.raises(DataError, match="damaged or cut off"):
        read(path)


def test_other_names_and_missing_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not that of running text") as caught:
        FileTexts(tmp_path / "text.pdf")
    assert ".jsonl" in str(caught.value)
    with pytest.raises(DataError, match="cannot read the file"):
        read(tmp_path / "none.txt")
    with pytest.raises(DataError, match="not a regular file"):
        (tmp_path / "folder.txt").mkdir()
        read(tmp_path / "folder.txt")


@pytest.mark.parametrize("name", [name for name, card in all_cards().items() if "train" in card.splits])
def test_the_texts_of_every_task_are_documents(name: str) -> None:
    card = find_card(name)
    records = load_adapter(card).read(locate(card, "sample"), "train")
    found = task_texts(records)
    assert 0 < len(found.held) <= len(records) and all(text.strip() for one in found.held for text in one)
    assert len({tuple(one) for one in found.held}) == len(found.held)


def test_numbers_of_rows_are_cut_from_the_end_alone(tmp_path: Path) -> None:
    rows = RowNumbers(tmp_path, "train", 5)
    assert list(rows) == [0, 1, 2, 3, 4] and isinstance(rows[:3], RowNumbers) and list(rows[:3]) == [0, 1, 2]
    assert len(rows[:None]) == 5 and list(rows[1:3]) == [1, 2] and rows[-1] == 4
    source = TokenSource("x.txt", tmp_path, {"train": TokenSplit(5, "0" * 64, {"tokens": 9})})
    card = find_card("pretraining")
    records = read_token_rows(card, source, "train")
    assert records.items == rows and records.total == 5 and source.has("train") and not source.has("dev")
    with pytest.raises(UsageError, match="reads running text"):
        read_token_rows(card, locate(find_card("afqmc"), "sample"), "train")
