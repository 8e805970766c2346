"""``clue tasks new``: from a spreadsheet's export to a trained model with no file edited by hand."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clue_runner.data.cards import load_card

Clue = Callable[..., Any]
BACKEND = os.environ.get("KERAS_BACKEND", "tensorflow")
GOOD = ("很好吃", "服务不错", "喜欢这里", "性价比高")
BAD = ("太难吃了", "服务很差", "再也不来", "又贵又慢")


def reviews(count: int = 200) -> list[list[str]]:
    """A header and rows of a number, a review and a label, some with quotes and line breaks."""
    rows = [["编号", "评论", "标签"]]
    for number in range(count):
        good = number % 3 != 0
        text = f"第{number}次来，{(GOOD if good else BAD)[number % 4]}"
        if number % 20 == 0:
            text += '\n还有"惊喜", 真的'
        rows.append([str(number), text, "正面" if good else "负面"])
    return rows


def exported(rows: list[list[str]], delimiter: str = ",") -> str:
    stream = io.StringIO(newline="")
    csv.writer(stream, delimiter=delimiter).writerows(rows)
    return stream.getvalue()


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "我的 评论.csv"
    path.write_bytes(exported(reviews()).encode("utf-8-sig"))
    return path


def records(folder: Path, split: str) -> list[dict[str, str]]:
    lines = (folder / f"{split}.json").read_text(encoding="utf-8").split("\n")[:-1]
    return [json.loads(line) for line in lines]


def test_a_spreadsheet_of_200_rows_to_a_trained_model(clue: Clue, table: Path, tmp_path: Path) -> None:
    made = clue("tasks", "new", tmp_path / "mine", "--from", table)
    assert made.exit_code == 0, made.stderr
    for said in (
        "a table with commas, UTF-8 with a byte order mark, header, 200 rows",
        "text: 评论; label: 标签; not used: 编号",
        "labels  2: 正面 (133), 负面 (67)",
        "splits  train 160, dev 20, test 20 (seed 42",
        "length  32 tokens",
        f"clue train --task {tmp_path / 'mine'}",
    ):
        assert said in made.stdout
    assert clue("config", "check", tmp_path / "mine").exit_code == 0
    small = ("--model", "test", "--backend", BACKEND, "--set", "train.max_steps=4")
    trained = clue("train", "--task", tmp_path / "mine", *small, "--output", tmp_path / "run")
    assert trained.exit_code == 0, trained.stderr
    scored = clue("predict", "--run", tmp_path / "run", "--split", "test")
    assert scored.exit_code == 0 and "20 predictions" in scored.stdout and "test accuracy" in scored.stdout
    (tmp_path / "own.txt").write_text(
        '{"text": "很好吃"}\n', encoding="utf-8"
    )  # no split of the card is like it
    asked = clue("predict", "--run", tmp_path / "run", "--split", tmp_path / "own.txt")
    assert asked.exit_code == 0 and "1 predictions" in asked.stdout, asked.stderr


def test_nothing_is_lost_or_changed(clue: Clue, table: Path, tmp_path: Path) -> None:
    assert clue("tasks", "new", tmp_path / "mine", "--from", table).exit_code == 0
    whole = [record for split in ("train", "dev", "test") for record in records(tmp_path / "mine", split)]
    assert sorted((record["text"], record["label"]) for record in whole) == sorted(
        (text, label) for _, text, label in reviews()[1:]
    )
    shares = [sum(record["label"] == "负面" for record in records(tmp_path / "mine", split)) for split in
              ("train", "dev", "test")]  # fmt: skip
    assert shares == [53, 7, 7]


@pytest.mark.parametrize("codec", ["utf-8", "utf-8-sig", "gb18030", "utf-16"])
@pytest.mark.parametrize("delimiter", [",", "\t", ";"])
def test_every_export_gives_the_same_task(clue: Clue, codec: str, delimiter: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(exported(reviews(60)).encode())
    (tmp_path / "b.txt").write_bytes(exported(reviews(60), delimiter).encode(codec))
    for source in ("a.csv", "b.txt"):
        made = clue("tasks", "new", tmp_path / source[0] / "mine", "--from", tmp_path / source)
        assert made.exit_code == 0, made.stderr
    files = ("task.yaml", "train.json", "dev.json", "test.json")
    assert [(tmp_path / "a" / "mine" / file).read_bytes() for file in files] == [
        (tmp_path / "b" / "mine" / file).read_bytes() for file in files
    ]


def test_json_and_pairs(clue: Clue, tmp_path: Path) -> None:
    rows = [{"q": f"问{n}", "a": f"答{n}", "fits": n % 2 == 0} for n in range(40)]
    (tmp_path / "pairs.json").write_text(json.dumps(rows, indent=2), encoding="utf-8")
    made = clue("tasks", "new", tmp_path / "mine", "--from", tmp_path / "pairs.json", "--json",
                "--text", "q", "--text", "a", "--label", "fits")  # fmt: skip
    assert made.exit_code == 0, made.stderr
    result = json.loads(made.stdout.strip().split("\n")[-1])
    assert result["labels"] == ["false", "true"] and result["counts"] == {"train": 32, "dev": 4, "test": 4}
    card = load_card(tmp_path / "mine")
    assert card.template and card.template.parts == ["{text_a}", "{text_b}"]


def test_a_folder_of_splits(clue: Clue, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    for name, count in (("train.tsv", 40), ("valid.tsv", 12)):
        (tmp_path / "data" / name).write_text(exported(reviews(count), "\t"), encoding="utf-8", newline="")
    (tmp_path / "data" / "test.tsv").write_text("编号\t评论\n1\t不知道\n2\t也不知道\n", encoding="utf-8")
    (tmp_path / "data" / "._train.tsv").write_bytes(b"litter")
    made = clue("tasks", "new", tmp_path / "mine", "--from", tmp_path / "data")
    assert made.exit_code == 0, made.stderr
    card = load_card(tmp_path / "mine")
    assert card.test_splits == ("test",)
    assert [len(records(tmp_path / "mine", split)) for split in card.splits] == [40, 12, 2]
    assert records(tmp_path / "mine", "test")[0] == {"text": "不知道"}


def test_numbers_are_labels_in_their_order(clue: Clue, tmp_path: Path) -> None:
    (tmp_path / "own.csv").write_text("".join(f"第{n}句,{n % 11}\n" for n in range(110)), encoding="utf-8")
    assert clue("tasks", "new", tmp_path / "mine", "--from", tmp_path / "own.csv").exit_code == 0
    assert load_card(tmp_path / "mine").label_names == tuple(map(str, range(11)))


@pytest.mark.parametrize(
    "label", ['双"引号', "a: b # c", "null", "yes", "行\u2028分", "{x}", "\\n", "😀", "~", "'"]
)
def test_strange_labels_survive_the_card(clue: Clue, label: str, tmp_path: Path) -> None:
    rows = [{"text": f"第{n}句", "label": label if n % 2 else "b"} for n in range(20)]
    (tmp_path / "own.json").write_text(json.dumps(rows), encoding="utf-8")
    made = clue("tasks", "new", tmp_path / "mine", "--from", tmp_path / "own.json")
    assert made.exit_code == 0, made.stderr
    assert set(load_card(tmp_path / "mine").label_names) == {label, "b"}


@pytest.mark.parametrize("name", ["我的任务", "My Task!", "con", "n" * 200, "-x", "a.b"])
def test_any_folder_name_gives_a_valid_card(clue: Clue, table: Path, name: str, tmp_path: Path) -> None:
    made = clue("tasks", "new", f"{tmp_path}/{name}", "--from", table)
    assert made.exit_code == 0, made.stderr
    assert clue("tasks", "show", f"{tmp_path}/{name}").exit_code == 0


def test_the_folder_one_is_in(
    clue: Clue, table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert clue("tasks", "new", ".", "--from", table).exit_code == 0
    assert load_card(Path()).name == "here"
    again = clue("tasks", "new", ".", "--from", table)
    assert again.exit_code == 2 and f"DIR {tmp_path}/here-2" in again.stderr


@pytest.mark.parametrize("there", ["file", "folder", "link"])
def test_nothing_that_exists_is_written_over(clue: Clue, table: Path, there: str, tmp_path: Path) -> None:
    place = tmp_path / "mine"
    if there == "file":
        place.write_text("mine", encoding="utf-8")
    elif there == "folder":
        place.mkdir()
        (place / "train.json").write_text("mine", encoding="utf-8")
    else:
        place.symlink_to(tmp_path / "nowhere")
    made = clue("tasks", "new", place, "--from", table)
    assert made.exit_code == 2 and "nothing is overwritten" in made.stderr
    assert f"DIR {tmp_path / 'mine-2'}" in made.stderr
    assert there != "folder" or (place / "train.json").read_text(encoding="utf-8") == "mine"
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".tmp")]


@pytest.mark.parametrize(
    ("content", "options", "exit_code", "said"),
    [
        ("text,label\n" + "甲,1\n" * 20, (), 3, "there is only one class"),
        ("text,label\n" + "".join(f"句{n},{n}.5\n" for n in range(20)), (), 3, "different labels in 20 rows"),
        ("text,label\n甲,1\n乙,0\n丙,1\n丁,0\n", (), 3, "too few examples for a dev and a test split"),
        ("just words\n" * 20, (), 3, "not a table"),
        ("", (), 3, "an empty file"),
        ("<html>", (), 3, "a web page"),
        ("text,label\n甲,1\n", ("--label", "lable"), 2, "did you mean label?"),
        ("text,label\n甲,1\n", ("--dev-share", "0"), 2, "leave something to train on"),
        ("text,label\n甲,1\n", ("--dev-share", "nan"), 2, "leave something to train on"),
        ("text,label\n甲,1\n", ("--delimiter", "ab"), 2, "one character, or tab"),
    ],
)
def test_what_is_no_task_is_refused_and_nothing_is_left(
    clue: Clue, content: str, options: tuple[str, ...], exit_code: int, said: str, tmp_path: Path
) -> None:
    (tmp_path / "own.csv").write_text(content, encoding="utf-8")
    made = clue("tasks", "new", tmp_path / "mine", "--from", tmp_path / "own.csv", *options)
    assert made.exit_code == exit_code and said in made.stderr and "Traceback" not in made.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) in (["clue-home", "own.csv"], ["own.csv"])


def test_rows_left_out_are_said(clue: Clue, tmp_path: Path) -> None:
    lines = ["text,label", *(f"第{n}句,{n % 2}" for n in range(100)), ",1", "多,了,一格"]
    (tmp_path / "own.csv").write_text("\n".join(lines), encoding="utf-8")
    made = clue("tasks", "new", tmp_path / "mine", "--from", tmp_path / "own.csv")
    assert made.exit_code == 0
    assert "own.csv:103: a row of a different width" in made.stderr and "own.csv:102: no text" in made.stderr


def test_a_full_disk_leaves_nothing(clue: Clue, table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    made = clue("tasks", "new", table.parent / "mine", "--from", table)
    assert made.exit_code == 8 and "no space left" in made.stderr
    assert not [path for path in table.parent.iterdir() if path.name.startswith((".tmp", "mine"))]


@pytest.mark.parametrize(
    "test_file",
    [
        "评论\n不知道\n也不知道，也许\n",  # only the texts
        '评论\n不知道\n"也不知道，也许"\n',
        "不知道\n也不知道，也许\n",
        "评论,标签\n不知道,\n也不知道，也许, \n",  # a column of labels that nobody filled in
        "标签,评论\n,不知道\n,也不知道，也许\n",
        "来源,评论,备注\n网,不知道,无\n店,也不知道，也许,有\n",
    ],
)
@pytest.mark.parametrize("label", [(), ("--label", "标签")])
def test_a_test_file_without_labels(
    clue: Clue, test_file: str, label: tuple[str, ...], tmp_path: Path
) -> None:
    (tmp_path / "data").mkdir()
    for name, count in (("train.csv", 40), ("dev.csv", 12)):
        (tmp_path / "data" / name).write_text(exported(reviews(count)), encoding="utf-8", newline="")
    (tmp_path / "data" / "test.csv").write_text(test_file, encoding="utf-8")
    made = clue("tasks", "new", tmp_path / "mine", "--from", tmp_path / "data", *label)
    assert made.exit_code == 0, made.stderr
    assert records(tmp_path / "mine", "test") == [{"text": "不知道"}, {"text": "也不知道，也许"}]


def test_the_length_says_what_is_cut(clue: Clue, tmp_path: Path) -> None:
    lines = ["text,label", *(f"第{n}句{'很长' * 400 * (n < 5)},{n % 2}" for n in range(100))]
    (tmp_path / "own.csv").write_text("\n".join(lines), encoding="utf-8")
    made = clue("tasks", "new", tmp_path / "mine", "--from", tmp_path / "own.csv")
    assert "512 tokens, about one a character; 5 of 100 records are longer and are cut" in made.stdout


def test_two_columns_of_one_name_are_no_record(clue: Clue, tmp_path: Path) -> None:
    lines = ["text,text", *(f"第{n}句,{n % 2}" for n in range(100))]
    (tmp_path / "own.csv").write_text("\n".join(lines), encoding="utf-8")
    made = clue("tasks", "new", tmp_path / "mine", "--from", tmp_path / "own.csv")
    assert made.exit_code == 3 and "two columns are called 'text'" in made.stderr
