"""CLUENER layout: spans checked against texts, every fault with file and line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from clue_runner.data.cards import Card
from clue_runner.data.readers.entities import entities_of, read_entity_records
from clue_runner.data.records import Entity
from clue_runner.data.sources import FolderSource
from clue_runner.errors import DataError

TYPES = ["name", "company", "government"]
TEXT = "浙商银行的叶老桂博士说ABC"


def make_card() -> Card:
    return Card.model_validate(
        {
            "name": "spans",
            "title": {"zh": "实体", "en": "entities"},
            "version": "1",
            "adapter": "entities",
            "layout": "cluener",
            "metric": "site_macro_f1",
            "id_field": "id",
            "labels": [{"name": name} for name in TYPES],
            "splits": {"train": {"file": "train.json"}, "test": {"file": "test.json", "labelled": False}},
            "max_length": 128,
            "licence": "none",
            "paper": "none",
        }
    )


def source(folder: Path, **files: str) -> FolderSource:
    paths = {}
    for stem, text in files.items():
        paths[f"{stem}.json"] = folder / f"{stem}.json"
        paths[f"{stem}.json"].write_text(text, encoding="utf-8", newline="")
    return FolderSource("folder", paths)


def lines(*records: Any) -> str:
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)


def fault(tmp_path: Path, label: Any) -> str:
    good = {"text": TEXT, "label": {"name": {"叶老桂": [[5, 7]]}}}
    bad = {"text": TEXT, "label": label}
    with pytest.raises(DataError) as caught:
        read_entity_records(make_card(), source(tmp_path, train=lines(good, bad)), "train")
    assert caught.value.exit_code == 3
    assert {problem.where for problem in caught.value.problems} == {f"{tmp_path}/train.json:2"}
    return str(caught.value)


def test_records_hold_inclusive_spans_in_file_order(tmp_path: Path) -> None:
    label = {"company": {"浙商银行": [[0, 3]]}, "name": {"叶老桂": [[5, 7]], "ABC": [[11, 13]]}}
    records = read_entity_records(
        make_card(), source(tmp_path, train=lines({"text": TEXT, "label": label})), "train"
    )
    assert records.items[0].entities == (
        Entity("company", 0, 3, "浙商银行"),
        Entity("name", 5, 7, "叶老桂"),
        Entity("name", 11, 13, "ABC"),
    )
    assert records.items[0].id == 0 and records.items[0].line == 1
    assert records.counts == {"entities": 3}


def test_overlapping_and_nested_spans_are_kept_and_doubles_are_one() -> None:
    found, faults = entities_of(
        {"name": {"甲乙": [[0, 1], [0, 1]], "乙丙": [[1, 2]], "甲乙丙": [[0, 2]]}}, "甲乙丙", TYPES
    )
    assert not faults
    assert len(found) == 3


def test_offsets_count_characters_outside_the_basic_plane(tmp_path: Path) -> None:
    record = {"text": "𠮷田\u2028李四", "label": {"name": {"李四": [[3, 4]]}}}
    records = read_entity_records(make_card(), source(tmp_path, train=lines(record)), "train")
    assert records.items[0].entities == (Entity("name", 3, 4, "李四"),)


def test_a_test_split_has_ids_and_no_entities(tmp_path: Path) -> None:
    files = source(tmp_path, test=lines({"id": 7, "text": "甲"}, {"id": 3, "text": "乙"}))
    records = read_entity_records(make_card(), files, "test")
    assert [(record.id, record.entities) for record in records.items] == [(7, None), (3, None)]


def test_an_unknown_type_is_named_with_the_nearest(tmp_path: Path) -> None:
    message = fault(tmp_path, {"goverment": {"浙商": [[0, 1]]}})
    assert "'goverment' is not in the list (did you mean government?" in message


@pytest.mark.parametrize("span", [[0, 14], [-1, 2], [3, 2], [14, 14]])
def test_spans_outside_the_text(tmp_path: Path, span: list[int]) -> None:
    assert "is outside the text of 14 characters" in fault(tmp_path, {"name": {"叶老桂": [span]}})


def test_a_surface_that_is_not_at_its_span(tmp_path: Path) -> None:
    assert "is '的叶老', not '叶老桂'" in fault(tmp_path, {"name": {"叶老桂": [[4, 6]]}})
    assert "ends are inclusive" in fault(tmp_path, {"name": {"叶老桂": [[5, 8]]}})


@pytest.mark.parametrize(
    ("label", "message"),
    [
        (["name"], "the label must be an object"),
        ({"name": ["叶老桂"]}, "the mentions of 'name' must be an object"),
        ({"name": {"叶老桂": []}}, "the spans of '叶老桂' must be a list"),
        ({"name": {"叶老桂": [5, 7]}}, "must be [start, end], got 5"),
        ({"name": {"叶老桂": [[5]]}}, "must be [start, end], got [5]"),
        ({"name": {"叶老桂": [[5, True]]}}, "must be [start, end]"),
        ({"name": {"叶老桂": [["5", "7"]]}}, "must be [start, end]"),
    ],
)
def test_labels_of_another_shape(tmp_path: Path, label: Any, message: str) -> None:
    assert message in fault(tmp_path, label)


def test_all_faults_are_gathered_and_twenty_are_shown(tmp_path: Path) -> None:
    bad = [{"text": TEXT, "label": {"name": {"叶老桂": [[0, 99]]}}}] * 25
    with pytest.raises(DataError) as caught:
        read_entity_records(make_card(), source(tmp_path, train=lines(*bad)), "train")
    assert len(caught.value.problems) == 25
    assert "train.json:20" in str(caught.value) and "train.json:21" not in str(caught.value)
    assert "and 5 more" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"text": "甲", "label"', "train.json:1: not JSON"),
        ('{"text": "", "label": {}}', "'text' must be a non-empty string"),
        ('{"text": "甲"}', "no key 'label'"),
        (
            '{"id": 1, "text": "甲", "label": {}}\n{"id": 1, "text": "乙", "label": {}}',
            "train.json:2: id 1 is also on line 1",
        ),
        (
            '{"id": 1, "text": "甲", "label": {}}\n{"id": "1", "text": "乙", "label": {}}',
            "train.json:2: id '1' is also on line 1",
        ),
        ("\n", "empty"),
    ],
)
def test_broken_files(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match="train") as caught:
        read_entity_records(make_card(), source(tmp_path, train=text), "train")
    assert message in str(caught.value)
