"""Tables and JSON of users: encodings, delimiters, quotes, headers, columns; what is no data is named."""

from __future__ import annotations

import json
import time

import pytest

from clue_runner.data.foreign.columns import choose_columns, examples_of
from clue_runner.data.foreign.encoding import decode
from clue_runner.data.foreign.grid import Grid, read_grid
from clue_runner.data.foreign.recognise import recognise
from clue_runner.data.foreign.tables import parse_table
from clue_runner.errors import DataError, UsageError

ROWS = [
    ("服务很好，还会再来", "好"),
    ("等了一个小时", "差"),
    ("味道不错", "好"),
    ("太咸了", "差"),
    ("喜欢", "好"),
]
PLAIN = "".join(f"{text},{label}\n" for text, label in ROWS)


def examples(raw: bytes, **options: object) -> list[tuple[tuple[str, ...], str]]:
    grid = read_grid(raw, "own.csv")
    found, _ = examples_of(grid, choose_columns(grid, "own.csv", **options), "own.csv")  # type: ignore[arg-type]
    return [(example.texts, example.label) for example in found]


# ---------------------------------------------------------------------------- encodings


@pytest.mark.parametrize(
    ("codec", "name"),
    [
        ("utf-8", "UTF-8"),
        ("utf-8-sig", "UTF-8 with a byte order mark"),
        ("gb18030", "GB18030"),
        ("gbk", "GB18030"),
        ("utf-16", "UTF-16"),
    ],
)
def test_the_encoding_is_found_out(codec: str, name: str) -> None:
    decoded = decode(PLAIN.encode(codec), "own.csv")
    assert (decoded.text, decoded.encoding) == (PLAIN, name)
    assert examples(PLAIN.encode(codec)) == [((text,), label) for text, label in ROWS]


@pytest.mark.parametrize(
    "raw",
    [
        "服務很好，還會再來。等了一個小時，味道不錯，太鹹了，喜歡這裡".encode("big5"),
        "サービスがとても良かった".encode("shift-jis"),
        "Déjà vu: très agréable, à bientôt".encode("latin-1"),
        b"text,label\n\xff\xff\xff,1\n",
    ],
    ids=["big5", "shift-jis", "latin-1", "nothing"],
)
def test_another_encoding_is_refused_and_not_guessed(raw: bytes) -> None:
    with pytest.raises(
        DataError, match=r"own.csv:\d+: neither UTF-8 nor GB18030.*\n.*save the file as UTF-8"
    ):
        decode(raw, "own.csv")


def test_a_wrong_byte_is_found_in_its_line_whatever_the_encoding() -> None:
    """As UTF-8, a GB18030 file is wrong from its first character on; that is not the byte to look at."""
    raw = "标签,句子\n1,服务很好\n0,等了一个小时".encode("gb18030")
    with pytest.raises(DataError, match=r"own\.csv:3: not GB18030, although it begins like it"):
        decode(raw + b"\x81\n", "own.csv")


def test_zero_bytes_are_no_text() -> None:
    with pytest.raises(DataError, match=r"own\.csv:2: not a text file: it has zero bytes"):
        decode(b"a,b\nc\x00,d", "own.csv")


def test_a_mark_that_lies_is_said() -> None:
    with pytest.raises(DataError, match="not UTF-8 with a byte order mark, although it begins like it"):
        decode(b"\xef\xbb\xbfa\n" + "评".encode("gbk"), "own.csv")


# ---------------------------------------------------------------------------- tables


@pytest.mark.parametrize("delimiter", [",", "\t", ";", "|"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_delimiters_and_line_ends(delimiter: str, end: str) -> None:
    raw = end.join(delimiter.join(row) for row in ROWS).encode()
    table = parse_table(raw, "own")
    assert table.delimiter == delimiter and [cells for _, cells in table.rows] == ROWS


def test_cells_of_a_spreadsheet() -> None:
    raw = 'sep=;\r\ntext;label\r\n"他说""好""; 真的\r\n第二行";1\r\n\r\n;\r\n"x";0\r\n'.encode()
    table = parse_table(raw, "own.csv")
    assert table.rows == (
        (2, ("text", "label")),
        (3, ('他说"好"; 真的\r\n第二行', "1")),
        (7, ("x", "0")),
    )


@pytest.mark.parametrize(
    ("raw", "cells"),
    [
        ('"他说好\t1\n他说"好\t0\n平常\t1\n', [('"他说好', "1"), ('他说"好', "0"), ("平常", "1")]),
        ('"开头\t1\n中间\t0\n结尾"\t1\n', [('"开头', "1"), ("中间", "0"), ('结尾"', "1")]),
        ('"他说""好"""\t1\n平常\t0\n', [('他说"好"', "1"), ("平常", "0")]),
        ('"一\n二"\t1\n平常\t0\n', [("一\n二", "1"), ("平常", "0")]),
    ],
    ids=["stray", "two stray ones swallow nothing", "doubled", "line break"],
)
def test_quotes_in_tabs(raw: str, cells: list[tuple[str, str]]) -> None:
    assert [row for _, row in parse_table(raw.encode(), "own.tsv").rows] == cells


def test_a_quote_that_is_never_closed_is_named() -> None:
    with pytest.raises(DataError, match=r"own\.csv:2: not a table.*\n.*a quote is not closed"):
        parse_table(b'text,label\na,1\n"b,0\nc,1\n' + b"d,1\n" * 9, "own.csv", delimiter=",")


def test_a_few_rows_of_another_width_are_left_out_and_many_refused() -> None:
    good = "".join(f"第{number}句,{number % 2}\n" for number in range(100))
    table = parse_table((good + "多,了,一格\n").encode(), "own.csv")
    assert len(table.rows) == 100
    assert [str(problem) for problem in table.left_out] == [
        "own.csv:101: a row of a different width, got 3 cells (allowed: 2)"
    ]
    with pytest.raises(DataError, match="20 of 120 rows have a different number of cells"):
        parse_table((good + "多,了,一格\n" * 20).encode(), "own.csv")


@pytest.mark.parametrize("raw", ["一句话\n两句话\n", "a b c\nd e\nf\n"])
def test_what_is_no_table(raw: str) -> None:
    with pytest.raises(DataError, match="not a table: no delimiter"):
        parse_table(raw.encode(), "own.txt")


# ---------------------------------------------------------------------------- headers and columns


@pytest.mark.parametrize(
    ("header", "has"),
    [
        ("text,label", True),
        ("评论,标签", True),
        ("was,ist", True),
        ("很差,差", False),
        ("x,好", False),
        ("", False),
    ],
)
def test_a_header_is_told_from_a_row(header: str, has: bool) -> None:
    grid = read_grid((f"{header}\n" if header else "").encode() + PLAIN.encode(), "own.csv")
    assert grid.has_header == has and len(grid.rows) == 5 + (bool(header) and not has)


def table(*lines: str) -> bytes:
    return "\n".join(lines).encode()


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (table("id,label,sentence", *(f"{n},{n % 2},第{n}句" for n in range(6))), (("第0句",), "0")),
        (
            table("sentence2,sentence1,label", *(f"乙{n},甲{n},{n % 2}" for n in range(6))),
            (("甲0", "乙0"), "0"),
        ),
        (table(*(f"{n}\t第{n}句\t{'ab'[n % 2]}" for n in range(6))), (("第0句",), "a")),
        (table(*(f"{'好差'[n % 2]},第{n}句" for n in range(6))), (("第0句",), "好")),
        (table(*(f"左{n},右{n},{n % 2}" for n in range(6))), (("左0", "右0"), "0")),
        (json.dumps([{"text": f"第{n}句", "label": n % 2} for n in range(4)]).encode(), (("第0句",), "0")),
        (
            json.dumps({"data": [{"text": f"第{n}句", "y": n > 1} for n in range(4)]}).encode(),
            (("第0句",), "false"),
        ),
        (table(*(json.dumps({"content": f"第{n}句", "类别": "甲"}) for n in range(4))), (("第0句",), "甲")),
    ],
    ids=["names", "pair", "no names", "label first", "two texts", "list", "wrapped", "lines"],
)
def test_columns_are_found(raw: bytes, expected: tuple[tuple[str, ...], str]) -> None:
    assert examples(raw)[0] == expected


def test_columns_are_named() -> None:
    raw = table("a,b,c", *(f"甲{n},乙{n},{n % 2}" for n in range(6)))
    assert examples(raw, texts=["b"], label="c")[0] == (("乙0",), "0")
    assert examples(raw, texts=["2", "1"], label="3")[0] == (("乙0", "甲0"), "0")
    with pytest.raises(UsageError, match=r"no column called 'd'.*allowed: a, b, c, or a number from 1 to 3"):
        examples(raw, texts=["d"])
    with pytest.raises(UsageError, match="a column is named twice"):
        examples(raw, texts=["c"], label="c")


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (table("l,r", *(f"甲{n},乙{n}" for n in range(6))), "the column of the labels cannot be determined"),
        (table("a,b,c,label", *(f"甲{n},乙{n},丙{n},1" for n in range(6))), "the column of the texts"),
        (table("text,text,label", "甲,乙,1"), "two columns are called 'text'"),
        (b"text,label\n", "a header but no rows"),
        (b"[]", "no records in the file"),
        (b"[1, 2]", "record 1 of the list is not an object"),
        (b'{"a": 1}', "the column of the labels"),
        (b'[{"text": ["a"], "label": "1"}, {"text": "b", "label": "1"}]', "neither text nor label"),
        (
            b'[{"text": "a", "label": 1.5}, {"text": "b", "label": "1"}]',
            "own.csv:1: a label must be a string or",
        ),
    ],
)
def test_what_cannot_be_told_is_asked(raw: bytes, says: str) -> None:
    with pytest.raises(DataError, match=says):
        examples(raw)


@pytest.mark.parametrize(
    "raw",
    [
        b"a," * 300_000 + b"b\n" + b"c," * 300_000 + b"d\n",
        json.dumps([{f"k{number}": 1} for number in range(20_000)]).encode(),
    ],
    ids=["table", "JSON"],
)
def test_the_cost_of_many_columns_is_bounded(raw: bytes) -> None:
    started = time.monotonic()
    with pytest.raises(DataError, match="too many columns"):
        read_grid(raw, "own.csv")
    assert time.monotonic() - started < 3


def test_rows_without_text_or_label_are_left_out_and_named() -> None:
    rows = [f"第{n}句,{n % 2}" for n in range(200)]
    grid = read_grid(table("text,label", *rows, ",1", "空标签,", " ,0"), "own.csv")
    columns = choose_columns(grid, "own.csv")
    found, left_out = examples_of(grid, columns, "own.csv")
    assert len(found) == 200
    assert [str(one) for one in left_out] == [
        "own.csv:202: no text",
        "own.csv:203: no label",
        "own.csv:204: no text",
    ]
    with pytest.raises(DataError, match="20 of 220 rows have no text or no label"):
        many = read_grid(table("text,label", *rows, *[",1"] * 20), "own.csv")
        examples_of(many, columns, "own.csv")


def test_a_missing_key_is_a_missing_text() -> None:
    grid = read_grid(json.dumps([{"text": "a", "label": "1"}] * 3 + [{"label": "1"}]).encode(), "own.json")
    assert isinstance(grid, Grid)
    _, left_out = examples_of(grid, choose_columns(grid, "own.json"), "own.json")
    assert [str(one) for one in left_out] == ["own.json:4: no text"]


# ---------------------------------------------------------------------------- what a file is

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
FLAT = {"context": "文", "question": "?", "answers": {"text": ["文"], "answer_start": [0]}}


def lines(*records: object) -> bytes:
    return "\n".join(json.dumps(record, ensure_ascii=False) for record in records).encode()


@pytest.mark.parametrize(
    ("raw", "shape"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n", "no data"),
        (b"\n<!DOCTYPE html><html>404", "no data"),
        (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "no data"),
        (b"PK\x03\x04....[Content_Types].xml", "no data"),
        (b"\x1f\x8b\x08\x00", "no data"),
        (b"PAR1....", "no data"),
        (b" \n", "no data"),
        (PLAIN.encode(), "table"),
        (PLAIN.encode("gbk"), "table"),
        (json.dumps([{"a": 1}]).encode(), "json list"),
        (json.dumps([{"a": 1}, {"a": 2}], indent=2).encode(), "json list"),
        (lines({"a": 1}, {"a": 2}), "json lines"),
        (json.dumps(SQUAD, indent=1).encode(), "squad"),
        (json.dumps(CMRC, indent=1).encode(), "cmrc"),
        (lines(ORIGINAL_CHID, ORIGINAL_CHID), "original chid"),
        (lines(CHID), "chid"),
        (lines(FLAT, FLAT), "flat squad"),
        (json.dumps({"data": [FLAT]}).encode(), "flat squad"),
        (json.dumps([[["文"], [], "d1"]]).encode(), "c3"),
        (lines({"text": "文", "label": {"name": {"文": [[0, 0]]}}}), "cluener"),
        (lines({"text": "文", "label": [[0, 1, "name"]]}), "spans"),
        (lines({"text": "文", "entities": [{"start_offset": 0, "end_offset": 1, "label": "n"}]}), "spans"),
        ("我 O\n在 O\n北 B-address\n京 I-address\n".encode(), "tagged"),
        (json.dumps([{"id": "1", "question": "?", "passages": []}]).encode(), "questions"),
        (json.dumps({"Q1": {"question": "?", "evidences": {}}}).encode(), "webqa"),
        ("一句话\n两句话".encode(), None),
        (b"{broken", None),
    ],
)
def test_a_file_is_recognised(raw: bytes, shape: str | None) -> None:
    seen = recognise(raw)
    assert (seen and seen.shape) == shape


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (b"version https://git-lfs.github.com/spec/v1\n", "a git-lfs pointer.*\n.*git lfs pull"),
        (b"<html>", "a web page"),
        (b"PK\x03\x04[Content_Types].xml", "a spreadsheet or office file.*\n.*CSV UTF-8"),
        (b"", "an empty file"),
    ],
)
def test_what_is_no_data_is_named(raw: bytes, says: str) -> None:
    with pytest.raises(DataError, match=f"own.csv: not data: {says}"):
        read_grid(raw, "own.csv")
