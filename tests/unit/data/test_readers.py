"""Readers: everything that docs on the real files list, and every broken line with file:line."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from clue_runner.data.cards import Card
from clue_runner.data.locate import open_source
from clue_runner.data.readers.json_lines import read_json_lines
from clue_runner.data.readers.text import read_text_records
from clue_runner.data.records import Records, TextRecord
from clue_runner.data.sources import FolderSource
from clue_runner.errors import DataError

Read = Callable[..., Records[TextRecord]]


@pytest.fixture
def read(
    make_card: Callable[..., Card], folder: Callable[[Mapping[str, bytes]], Path], good: dict[str, bytes]
) -> Read:
    """Read one split whose file holds the given bytes; the other files are good."""

    def call(
        raw: bytes | str, split: str = "train", labelled: bool | None = None, **changes: Any
    ) -> Records[TextRecord]:
        content = raw.encode() if isinstance(raw, str) else raw
        card = make_card(**changes)
        path = folder(good | {card.splits[split].file: content})
        return read_text_records(card, open_source(path, card), split, labelled=labelled)

    return call


def problems_of(error: pytest.ExceptionInfo[DataError]) -> list[str]:
    assert error.value.exit_code == 3
    return [str(problem).rpartition("/files/")[2] for problem in error.value.problems]


@pytest.mark.parametrize("end", ["\n", "\r\n", ""])
def test_line_ends_byte_order_mark_and_blank_lines(end: str) -> None:
    raw = b"\xef\xbb\xbf" + f'{{"a": 1}}{end or chr(10)}\n  \n{{"a": 2}}{end}'.encode()
    assert read_json_lines(raw, "f.json") == [(1, {"a": 1}), (4, {"a": 2})]


def test_only_a_newline_ends_a_line(line: Callable[..., str], read: Read) -> None:
    strange = "一\u2028二\u2029三\x85四\u200b五\ufeff六"
    raw = json.dumps({"a": strange, "b": "乙", "label": "1"}, ensure_ascii=False) + "\n" + line(label="0")
    records = read(raw)
    assert [record.line for record in records.items] == [1, 2]
    assert records.items[0].texts == (strange, "乙")


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (b'{"a": 1,}', "not JSON"),
        (b'{"a": 1', "not JSON"),
        (b"[1, 2]", "not a JSON object"),
        (b'"text"', "not a JSON object"),
        (b'{"a": NaN}', "NaN is not JSON"),
        (b'{"a": -Infinity}', "-Infinity is not JSON"),
        (b'{"a": 1, "a": 2}', "the key 'a' appears twice"),
        (b'{"a": "\xff"}', "not UTF-8 (byte 8 of the line)"),
        ('{"a": "中文"}'.encode("gbk"), "the file looks like GBK"),
        (b'{"a": "\\ud83d"}', "half a character"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a": ' + b"1" * 5_000 + b"}", "digits"),
        (b'{"a": 1}{"b": 2}', "not JSON"),
    ],
)
def test_a_broken_line_is_named(bad: bytes, said: str) -> None:
    with pytest.raises(DataError) as caught:
        read_json_lines(b'{"a": 0}\r\n\r\n' + bad + b'\r\n{"a": 9}', "f.json")
    (problem,) = problems_of(caught)
    assert problem.startswith("f.json:3: ") and said in problem


def test_a_whole_escaped_pair_is_a_character() -> None:
    assert read_json_lines(b'{"a": "\\ud83d\\ude00"}', "f.json") == [(1, {"a": "\U0001f600"})]


def test_all_bad_lines_are_listed_together_twenty_shown(line: Callable[..., str], read: Read) -> None:
    rows = [line(label="0"), "{", line(label="9"), '{"a": "甲", "label": "0"}'] + ["[]"] * 30
    with pytest.raises(DataError) as caught:
        read("\n".join(rows))
    found = problems_of(caught)
    assert [problem.split(": ")[0] for problem in found[:4]] == [
        f"train.json:{number}" for number in (2, 3, 4, 5)
    ]
    text = str(caught.value)
    assert "33 bad lines in /" in text and "train.json:21: " in text and "... and 13 more" in text
    assert "label '9' is not in the list (allowed: 0, 1)" in text and "no key 'b'" in text


@pytest.mark.parametrize(("label", "read_as"), [(1, "1"), (0, "0"), ("1", "1")])
def test_integer_labels_mean_the_string(
    label: object, read_as: str, line: Callable[..., str], read: Read
) -> None:
    assert read(line(label=label)).items[0].label == read_as


def test_a_json_true_means_the_string(line: Callable[..., str], read: Read) -> None:
    assert read(line(label=True), labels=[{"name": "true"}, {"name": "false"}]).items[0].label == "true"


@pytest.mark.parametrize("label", [1.0, None, ["1"], "2", True, " 1"])
def test_other_labels_are_refused(label: object, line: Callable[..., str], read: Read) -> None:
    with pytest.raises(DataError) as caught:
        read(line(label="0") + "\n" + line(label=label))
    assert problems_of(caught)[0].startswith("train.json:2: ")


def test_a_long_label_list_is_shortened(line: Callable[..., str], read: Read) -> None:
    with pytest.raises(DataError, match=r"allowed: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, \.\.\. 118; 119 in all"):
        read(line(label="119"), labels=[{"name": str(number)} for number in range(119)])


def test_rows_without_majority_label_are_skipped_and_counted(line: Callable[..., str], read: Read) -> None:
    records = read("\n".join([line(label="-"), line(label="1"), line(label="-")]))
    assert (records.total, len(records), records.skipped) == (3, 1, {"label '-'": 2})
    assert records.items[0].id == 1 and records.complete and not records.warnings


@pytest.mark.parametrize(("raw", "said"), [("", "empty"), ("\n \r\n", "empty")])
def test_an_empty_split_is_refused(raw: str, said: str, read: Read) -> None:
    with pytest.raises(DataError, match=said) as caught:
        read(raw)
    assert caught.value.exit_code == 3


def test_a_split_without_a_usable_row_is_refused(line: Callable[..., str], read: Read) -> None:
    with pytest.raises(DataError, match="no usable record") as caught:
        read(line(label="-"))
    assert "1 label '-'" in str(caught.value)


def test_one_row_is_enough_but_the_count_is_said(line: Callable[..., str], read: Read) -> None:
    records = read(line(label="0"))
    (warning,) = records.warnings
    assert Path(warning.partition(" has ")[0]).is_file() and warning.endswith(
        "/train.json has 1 records, the official file has 3"
    )
    assert not records.complete
    assert read(line(label="0"), split="dev").complete  # a count of another published copy


def test_own_ids_are_kept_in_file_order(line: Callable[..., str], read: Read) -> None:
    records = read("\n".join([line(id=2415), line(id=3), line(id="x1")]), split="test")
    assert [record.id for record in records.items] == [2415, 3, "x1"]
    assert [record.label for record in records.items] == [None] * 3


def test_ids_are_compared_as_text(line: Callable[..., str], read: Read) -> None:
    with pytest.raises(DataError) as caught:
        read("\n".join([line(id=5), line(id="5")]), split="test")
    assert problems_of(caught) == ["test.json:2: id '5' is also on line 1"]


def test_a_message_names_the_users_own_file(
    line: Callable[..., str], make_card: Callable[..., Card], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("own.txt").write_text("{", encoding="utf-8")
    source = FolderSource("own.txt", {"test.json": Path("own.txt")})
    with pytest.raises(DataError, match=r"(?s)1 bad line in own\.txt\n  own\.txt:1: not JSON"):
        read_text_records(make_card(), source, "test")
    Path("own.txt").write_text(line(id=1, label="0"), encoding="utf-8")
    records = read_text_records(make_card(), source, "test")
    assert (records.file, records.path) == ("own.txt", "own.txt")
    assert "own.txt has labels; they are not used" in records.warnings


def test_a_message_about_a_zip_names_zip_and_member(
    make_card: Callable[..., Card], archive: Callable[..., Path], good: dict[str, bytes]
) -> None:
    path = archive({"inner/train.json": b"{", "inner/dev.json": good["dev.json"]})
    with pytest.raises(DataError) as caught:
        read_text_records(make_card(), open_source(path, make_card()), "train")
    assert caught.value.problems[0].where == f"{path}:inner/train.json:1"


def test_rows_without_ids_are_numbered(line: Callable[..., str], read: Read) -> None:
    assert [record.id for record in read("\n".join([line(), "", line()]), split="test").items] == [0, 1]


def test_a_repeated_id_in_a_test_file_names_both_lines(line: Callable[..., str], read: Read) -> None:
    with pytest.raises(DataError) as caught:
        read("\n".join([line(id=5), "", line(id=6), line(id=5)]), split="test")
    assert problems_of(caught) == ["test.json:4: id 5 is also on line 1"]
    assert len(read("\n".join([line(id=5, label="0")] * 3))) == 3  # in train an id names nothing


@pytest.mark.parametrize("bad", [True, 1.5, None, [1]])
def test_an_id_is_an_integer_or_a_string(bad: object, line: Callable[..., str], read: Read) -> None:
    with pytest.raises(DataError, match="'id' must be an integer or a string"):
        read(line(id=bad), split="test")


def test_labels_in_a_test_file_are_said_and_not_used(line: Callable[..., str], read: Read) -> None:
    records = read("\n".join([line(id=0, label="1"), line(id=1, label="0")]), split="test")
    assert records.warnings == ("test.json has labels; they are not used",) and records.items[0].label is None
    gold = read("\n".join([line(id=0, label="1"), line(id=1, label="0")]), split="test", labelled=True)
    assert [record.label for record in gold.items] == ["1", "0"]


def test_a_missing_label_in_train_is_an_error(line: Callable[..., str], read: Read) -> None:
    with pytest.raises(DataError, match="no key 'label', the record has a, b"):
        read(line())


def test_the_data_of_another_task_is_one_sentence(read: Read) -> None:
    with pytest.raises(DataError, match="these are not records of pairs: none has 'a', 'b'") as caught:
        read("\n".join(['{"text": "文", "label": "0"}'] * 30))
    assert not caught.value.problems


def test_a_missing_file_says_what_is_there(
    make_card: Callable[..., Card], folder: Callable[..., Path], good: dict[str, bytes]
) -> None:
    card = make_card()
    source = open_source(folder({"train.json": good["train.json"]}), card)
    with pytest.raises(DataError, match=r"no file dev\.json found, got train\.json"):
        read_text_records(card, source, "dev")
