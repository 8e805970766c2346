"""``clue data convert``: other layouts into the one that a task reads; all or nothing, never over a file."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clue_runner.data.cards import find_card
from clue_runner.data.layouts import read_records
from clue_runner.data.locate import open_source

Clue = Callable[..., Any]
CONTEXT = "甲城在河北，乙城在河南，丙城也在河北。"


def convert(clue: Clue, task: str, source: Path, output: Path, *options: str) -> Any:
    return clue("data", "convert", task, "--from", source, "--output", output, "--json", *options)


def last_event(stdout: str) -> dict[str, Any]:
    event: dict[str, Any] = json.loads(stdout.strip().split("\n")[-1])
    return event


def records(task: str, folder: Path, split: str) -> Any:
    card = find_card(task)
    return read_records(card, open_source(folder, card), split).items


def write(path: Path, content: str | bytes | list[Any], *, as_lines: bool = False) -> Path:
    if isinstance(content, list):
        rows = [json.dumps(row, ensure_ascii=False) for row in content]
        content = "\n".join(rows) if as_lines else json.dumps(content, ensure_ascii=False, indent=2)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize("shape", ["csv", "csv in gb18030", "tsv", "plain tsv", "list", "lines in gb18030"])
def test_pairs(clue: Clue, shape: str, tmp_path: Path) -> None:
    rows = [{"sentence1": f"甲城{n}", "sentence2": f'乙"城, {n}', "label": str(n % 2)} for n in range(20)]
    quoted = [f'{row["sentence1"]},"乙""城, {n}",{n % 2}\n' for n, row in enumerate(rows)]
    table = "sentence1,sentence2,label\n" + "".join(quoted)
    tabs = "".join("\t".join(row.values()) + "\n" for row in rows)
    content: dict[str, Any] = {
        "csv": table,
        "csv in gb18030": table.encode("gb18030"),
        "tsv": "label\tsentence2\tsentence1\n"
        + "".join("\t".join(reversed(row.values())) + "\n" for row in rows),
        "plain tsv": tabs,
        "list": rows,
        "lines in gb18030": "\n".join(json.dumps(row, ensure_ascii=False) for row in rows).encode("gb18030"),
    }
    done = convert(clue, "afqmc", write(tmp_path / "own.csv", content[shape]), tmp_path / "out")
    assert done.exit_code == 0, done.stderr
    assert last_event(done.stdout)["counts"] == {"train": {"records": 16}, "dev": {"records": 4}}
    both = [*records("afqmc", tmp_path / "out", "train"), *records("afqmc", tmp_path / "out", "dev")]
    assert sorted((*record.texts, record.label) for record in both) == sorted(
        tuple(row.values()) for row in rows
    )


def test_a_folder_of_splits_and_a_file_named_as_one(clue: Clue, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    write(tmp_path / "in" / "train.csv", "sentence1,sentence2,label\n" + "甲,乙,1\n" * 3)
    write(tmp_path / "in" / "valid.csv", "sentence1,sentence2,label\n甲,丙,0\n")
    write(tmp_path / "in" / "test.csv", "id,sentence1,sentence2\n7,甲,丁\n")
    done = convert(clue, "afqmc", tmp_path / "in", tmp_path / "out")
    assert done.exit_code == 0, done.stderr
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "dev.json",
        "test.json",
        "train.json",
    ]
    assert [record.id for record in records("afqmc", tmp_path / "out", "test")] == [7]
    done = convert(clue, "afqmc", tmp_path / "in" / "valid.csv", tmp_path / "dev")
    assert done.exit_code == 0 and [path.name for path in (tmp_path / "dev").iterdir()] == ["dev.json"]


def test_lists_of_texts_in_a_table(clue: Clue, tmp_path: Path) -> None:
    path = write(tmp_path / "train.csv", "id,abst,keyword,label\n1,摘要,甲; 乙,1\n2,摘要二,丙,0\n")
    assert convert(clue, "csl", path, tmp_path / "out").exit_code == 0
    assert records("csl", tmp_path / "out", "train")[0].texts[0].count("甲") == 1
    assert "乙" in "".join(records("csl", tmp_path / "out", "train")[0].texts)


def test_cmrcs_first_layout(clue: Clue, tmp_path: Path) -> None:
    questions = [
        {"query_id": f"Q{n}", "query_text": "哪里？", "answers": [answer]}
        for n, answer in enumerate(("河南", "河北", "湖北"))
    ]
    rows = [{"context_id": "T", "context_text": CONTEXT, "qas": questions, "title": "城"}]
    done = convert(clue, "cmrc2018", write(tmp_path / "train.json", rows), tmp_path / "out")
    assert done.exit_code == 0, done.stderr
    found = records("cmrc2018", tmp_path / "out", "train")
    assert [(one.id, one.answers[0].text, one.answers[0].start) for one in found] == [
        ("Q0", "河南", CONTEXT.index("河南")),
        ("Q1", "河北", CONTEXT.index("河北")),
        ("Q2", "湖北", None),
    ]
    assert "1 answers appear nowhere" in done.stderr and "1 answers appear more than once" in done.stderr


def test_single_squad_records_stay_with_their_context(clue: Clue, tmp_path: Path) -> None:
    rows = [
        {
            "id": n,
            "context": f"{CONTEXT}{n // 2}",
            "question": "?",
            "answers": {"text": ["河南"], "answer_start": [9]},
        }
        for n in range(20)
    ]
    done = convert(clue, "drcd", write(tmp_path / "all.json", rows, as_lines=True), tmp_path / "out")
    assert done.exit_code == 0, done.stderr
    train, dev = (records("drcd", tmp_path / "out", split) for split in ("train", "dev"))
    assert (len(train), len(dev)) == (16, 4) and not {one.context for one in train} & {
        one.context for one in dev
    }
    assert {one.id for one in (*train, *dev)} == {str(n) for n in range(20)}
    assert train[0].answers[0].start == CONTEXT.index("河南")


def test_original_chid(clue: Clue, tmp_path: Path) -> None:
    row = {
        "groundTruth": ["画蛇添足", "守株待兔"],
        "candidates": [["画蛇添足", "亡羊补牢"], ["刻舟求剑", "守株待兔"]],
        "content": "他#idiom#，又#idiom#。",
        "realCount": 2,
    }
    done = convert(clue, "chid", write(tmp_path / "train.txt", [row], as_lines=True), tmp_path / "out")
    assert done.exit_code == 0, done.stderr
    first, second = records("chid", tmp_path / "out", "train")
    assert first.passages == ("他#idiom000000#，又守株待兔。",) and first.answers == (0,)
    assert second.passages == ("他画蛇添足，又#idiom000001#。",) and second.answers == (1,)
    assert second.candidates == ("刻舟求剑", "守株待兔")
    assert "1 texts have several blanks" in done.stderr


@pytest.mark.parametrize(
    "content",
    [
        "叶 B-name\n老 I-name\n桂 I-name\n在 O\n浙 B-company\n商 I-company\n\n好 O\n",
        "叶\tB-name\n老\tM-name\n桂\tE-name\n在\tO\n浙\tB-company\n商\tE-company\n\n好\tO\n",
        [{"text": "叶老桂在浙商", "label": [[0, 3, "name"], [4, 6, "company"]]}, {"text": "好", "label": []}],
        [
            {
                "text": "叶老桂在浙商",
                "entities": [
                    {"start_offset": 0, "end_offset": 3, "label": "name"},
                    {"start_offset": 4, "end_offset": 6, "label": "company"},
                ],
            },
            {"text": "好", "entities": []},
        ],
    ],
    ids=["BIO", "BMES", "spans", "objects"],
)
def test_entities(clue: Clue, content: Any, tmp_path: Path) -> None:
    source = write(tmp_path / "train.txt", content, as_lines=True)
    done = convert(clue, "cluener", source, tmp_path / "out")
    assert done.exit_code == 0, done.stderr
    first, second = records("cluener", tmp_path / "out", "train")
    assert [(one.type, one.surface, one.start, one.end) for one in first.entities] == [
        ("name", "叶老桂", 0, 2),
        ("company", "浙商", 4, 5),
    ]
    assert second.entities == ()


def test_tags_that_touch_and_end_a_text(clue: Clue, tmp_path: Path) -> None:
    content = "甲 B-name\n乙 B-name\n丙 I-company\n丁 S-name\n戊 I-name\n"
    done = convert(clue, "cluener", write(tmp_path / "train.txt", content), tmp_path / "out")
    assert done.exit_code == 0, done.stderr
    (record,) = records("cluener", tmp_path / "out", "train")
    spans = sorted((one.start, one.end, one.type) for one in record.entities)
    assert spans == [(0, 0, "name"), (1, 1, "name"), (2, 2, "company"), (3, 3, "name"), (4, 4, "name")]


def test_questions_with_passages(clue: Clue, tmp_path: Path) -> None:
    rows = [
        {"id": n, "question": "谁？", "passages": [{"passage": f"是张三{n}。", "answer": "张三"}]}
        for n in range(10)
    ]
    source = write(tmp_path / "own.json", rows)
    done = convert(clue, "sogouqa", source, tmp_path / "out", "--mix", str(source))
    assert done.exit_code == 0, done.stderr
    assert last_event(done.stdout)["counts"]["train"]["questions"] == 18
    assert f"clue train --task sogouqa --data {tmp_path}/out" in done.stderr


@pytest.mark.parametrize(
    ("task", "content", "exit_code", "said"),
    [
        ("afqmc", "sentence1,sentence2,label\n甲,乙,2\n", 3, "own.csv:2: label '2' is not in the list"),
        ("afqmc", "a,b,label\n甲,乙,1\n", 3, "no column for 'sentence1', 'sentence2'"),
        ("afqmc", "甲,1\n乙,0\n", 3, "has 2 columns, afqmc needs 3"),
        ("afqmc", "甲,乙,1\n" * 3, 3, "too few records to split"),
        (
            "afqmc",
            '[{"sentence1": "甲", "sentence2": 3, "label": "1"}]',
            3,
            "own.csv, record 1: 'sentence2' must be",
        ),
        ("cluener", "叶 B-nam\n", 3, "own.csv:1: entity type 'nam' is not in the list (did you mean name?"),
        (
            "cluener",
            '{"text": "叶", "label": [[0, 2, "name"]]}\n',
            3,
            "own.csv:1: span [0, 2] is outside the text",
        ),
        (
            "cmrc2018",
            json.dumps({"data": [{"paragraphs": [{"context": "", "qas": []}]}]}),
            2,
            "already SQuAD's layout",
        ),
        ("cmrc2018", "a,b\n" * 9, 3, "CSV cannot be converted to SQuAD's layout"),
        (
            "chid",
            '{"groundTruth": ["一"], "candidates": [], "content": "#idiom#"}\n{}',
            3,
            "own.csv:1: 1 blanks, 1",
        ),
        ("c3", "[]", 2, "no conversion to the layout c3"),
        ("webqa", "问题,答案\n" * 9, 3, "not questions with passages, but CSV"),
        ("afqmc", "<html>", 3, "not data: a web page"),
        ("afqmc", "version https://git-lfs.github.com/spec/v1", 3, "a git-lfs pointer"),
        ("afqmc", "", 3, "an empty file"),
    ],
)
def test_what_cannot_be_converted_leaves_nothing(
    clue: Clue, task: str, content: str, exit_code: int, said: str, tmp_path: Path
) -> None:
    done = convert(clue, task, write(tmp_path / "own.csv", content), tmp_path / "out")
    assert done.exit_code == exit_code and said in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".tmp")]


@pytest.mark.parametrize("task", ["webqa", "afqmc"])
def test_the_source_is_never_written_over(clue: Clue, task: str, tmp_path: Path) -> None:
    folder = tmp_path / "d"
    folder.mkdir()
    row = {"id": "a", "question": "谁？", "passages": [{"passage": "是张三。", "answer": "张三"}]}
    source = write(folder / "train.json", [row | {"id": n} for n in range(9)])
    before = source.read_bytes()
    for name, output in ((folder, folder), (source, folder), (source, source)):
        done = convert(clue, task, name, output)
        assert done.exit_code == 2 and "nothing is overwritten" in done.stderr
    assert source.read_bytes() == before and [path.name for path in folder.iterdir()] == ["train.json"]


def test_an_existing_file_is_never_written_over(clue: Clue, tmp_path: Path) -> None:
    source = write(tmp_path / "own.csv", "甲,乙,1\n丙,丁,0\n" * 9)
    (tmp_path / "out").mkdir()
    write(tmp_path / "out" / "notes.txt", "mine")
    done = convert(clue, "afqmc", source, tmp_path / "out")
    assert done.exit_code == 2 and f"--output {tmp_path}/out-2" in done.stderr
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["notes.txt"]


def test_a_full_disk_leaves_nothing(clue: Clue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    source = write(tmp_path / "own.csv", "".join(f"甲{n},乙,1\n" for n in range(9)))
    done = convert(clue, "afqmc", source, tmp_path / "out")
    assert done.exit_code == 8 and not (tmp_path / "out").exists()
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".tmp")]
