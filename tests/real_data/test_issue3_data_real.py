"""Every official file of the span, reading and choice tasks reads, with the counts that are known of it."""

from __future__ import annotations

import json
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from clue_runner.data.cards import Card
from clue_runner.data.locate import open_source
from clue_runner.data.readers import choice as readers_choice
from clue_runner.data.readers import reading as readers_reading
from clue_runner.data.readers.choice import read_choice_records
from clue_runner.data.readers.cloze import read_cloze_records
from clue_runner.data.readers.entities import read_entity_records
from clue_runner.data.readers.reading import read_reading_records
from clue_runner.data.sources import DataSource
from clue_runner.errors import DataError

pytestmark = pytest.mark.real_data

TYPES = [
    "address",
    "book",
    "company",
    "game",
    "government",
    "movie",
    "name",
    "organization",
    "position",
    "scene",
]
UNLABELLED = {"labelled": False}
SPLITS: dict[str, dict[str, Any]] = {
    "cluener": {
        "train": {"file": "train.json", "records": [10748]},
        "dev": {"file": "dev.json", "records": [1343]},
        "test": {"file": "test.json", "records": [1345], **UNLABELLED},
    },
    "cmrc2018": {
        "train": {"file": "train.json", "records": [10142]},
        "dev": {"file": "dev.json", "records": [3219]},
        "trial": {"file": "trial.json", "records": [1002]},
        "test": {"file": "test.json", "records": [2000], **UNLABELLED},
    },
    "drcd": {"dev": {"file": "dev.json", "records": [3524]}},
    "c3": {
        "train": {"file": "d-train.json", "more": [{"file": "m-train.json"}], "records": [11869]},
        "dev": {"file": "d-dev.json", "more": [{"file": "m-dev.json"}], "records": [3816]},
        "test1.0": {"file": "test1.0.json", "records": [3892], **UNLABELLED},
        "test1.1": {"file": "test1.1.json", "records": [1625], **UNLABELLED},
    },
    "chid": {
        "train": {"file": "train.json", "answers": {"file": "train_answer.json"}, "records": [1]},
        "dev": {"file": "dev.json", "answers": {"file": "dev_answer.json"}, "records": [1]},
        "test1.1": {"file": "test1.1.json", "records": [1], **UNLABELLED},
    },
}


def opened(folder: Path, task: str) -> tuple[Card, DataSource]:
    card = Card.model_validate(
        {
            "name": task,
            "title": {"zh": task, "en": task},
            "version": "1",
            "adapter": "none",
            "metric": "none",
            "id_field": "id",
            "labels": [{"name": name} for name in TYPES] if task == "cluener" else [],
            "splits": SPLITS[task],
            "max_length": 128,
            "licence": "none",
            "paper": "none",
        }
    )
    return card, open_source(folder / "official" / f"{task}_public.zip", card)


@pytest.mark.parametrize(("split", "entities"), [("train", 23971), ("dev", 3072), ("test", 0)])
def test_cluener(real_data: Path, split: str, entities: int) -> None:
    records = read_entity_records(*opened(real_data, "cluener"), split)
    assert records.complete and not records.warnings
    assert records.counts["entities"] == entities
    if split == "test":
        assert [record.id for record in records.items] == list(range(1345))
        return
    assert all(
        entity.surface == r.text[entity.start : entity.end + 1]
        for r in records.items
        for entity in r.entities or ()
    )
    assert all(record.entities for record in records.items)


def test_cluener_types_are_counted_as_published(real_data: Path) -> None:
    records = read_entity_records(*opened(real_data, "cluener"), "train")
    counts = Counter(entity.type for record in records.items for entity in record.entities or ())
    assert counts == {
        "name": 3755,
        "organization": 3210,
        "position": 3141,
        "company": 2980,
        "address": 2891,
        "game": 2376,
        "government": 1835,
        "scene": 1521,
        "book": 1139,
        "movie": 1123,
    }


def test_the_format_sample_inside_the_cluener_zip_is_refused_line_by_line(real_data: Path) -> None:
    card, source = opened(real_data, "cluener")
    splits = {"dev": {"file": "cluener_predict.json"}}
    odd = Card.model_validate({**card.model_dump(), "splits": splits})
    with pytest.raises(DataError) as caught:
        read_entity_records(odd, source, "dev")
    wheres = [problem.where for problem in caught.value.problems]
    shown = source.shown("cluener_predict.json")
    assert shown == f"{source.label}:cluener_predict.json"
    assert {f"{shown}:{line}" for line in (5, 6, 7)} <= set(wheres)


REPAIRED, NOWHERE = readers_reading.REPAIRED, readers_reading.NOWHERE


@pytest.mark.parametrize(
    ("split", "counts", "references"),
    [
        ("train", {REPAIRED: 21}, 1),
        ("dev", {REPAIRED: 7, NOWHERE: 193}, 3),
        ("trial", {REPAIRED: 5, readers_reading.NO_QUESTION: 2}, 1),
        ("test", {}, 0),
    ],
)
def test_cmrc2018(real_data: Path, split: str, counts: dict[str, int], references: int) -> None:
    records = read_reading_records(*opened(real_data, "cmrc2018"), split)
    assert records.complete
    assert records.counts == counts
    assert {len(record.references) for record in records.items} == {references}
    assert len({record.id for record in records.items}) == len(records)
    for record in records.items:
        for answer in record.answers:
            assert answer.start is None or record.context.startswith(answer.text, answer.start)
    if split != "test":
        assert all(record.target for record in records.items)


def test_cmrc2018_offsets_move_by_one_or_two_characters(real_data: Path) -> None:
    card, source = opened(real_data, "cmrc2018")
    moved = Counter[int]()
    repaired = {
        record.id: record
        for split in ("train", "trial")
        for record in read_reading_records(card, source, split).items
    }
    for split in ("train", "trial"):
        for article in json.loads(source.read(f"{split}.json"))["data"]:
            for question in article["paragraphs"][0]["qas"]:
                target = repaired[question["id"]].target
                assert target is not None and target.start is not None
                moved[target.start - question["answers"][0]["answer_start"]] += 1
    assert moved == {0: 10121 + 997, -1: 25, -2: 1}


def test_drcd(real_data: Path) -> None:
    records = read_reading_records(*opened(real_data, "drcd"), "dev")
    assert records.complete and records.counts == {} and not records.warnings
    assert {len(record.references) for record in records.items} == {2}
    assert len({record.context for record in records.items}) == 1000


@pytest.mark.parametrize(
    ("split", "choices", "counts"),
    [
        (
            "train",
            {4: 9913, 3: 1403, 2: 553},
            {readers_choice.REPEATED: 5, readers_choice.REPEATED_ANSWER: 2},
        ),
        ("dev", {4: 3181, 3: 465, 2: 170}, {readers_choice.REPEATED: 1}),
        ("test1.0", {4: 3200, 3: 521, 2: 171}, {}),
        ("test1.1", {4: 1597, 3: 22, 8: 2, 5: 1, 7: 1, 9: 1, 10: 1}, {readers_choice.REPEATED: 1}),
    ],
)
def test_c3(real_data: Path, split: str, choices: dict[int, int], counts: dict[str, int]) -> None:
    records = read_choice_records(*opened(real_data, "c3"), split)
    assert records.complete
    assert Counter(len(record.choices) for record in records.items) == choices
    assert records.counts == counts
    ids = [record.id for record in records.items]
    assert sorted(ids, key=int) == list(range(len(records)))
    assert (ids == sorted(ids, key=int)) == (split != "test1.0")
    assert all((record.answer is None) == split.startswith("test") for record in records.items)


def test_c3_documents(real_data: Path) -> None:
    records = read_choice_records(*opened(real_data, "c3"), "train")
    assert records.items[-1].passage_number == 4885 + 3138 - 1
    assert records.file == "d-train.json + m-train.json"


def test_chid_record_of_each_split(real_data: Path) -> None:
    card, source = opened(real_data, "chid")
    train = read_cloze_records(card, source, "train").items[0]
    assert train.tags == tuple(f"#idiom{number:06}#" for number in range(7))
    assert train.answers == (3, 5, 6, 1, 7, 4, 0)
    assert [passage.count("#idiom") for passage in train.passages] == [1, 1, 3, 2]
    dev = read_cloze_records(card, source, "dev").items[0]
    assert dev.answers == (5, 1, 4, 3, 6, 7, 9)
    test = read_cloze_records(card, source, "test1.1").items[0]
    assert test.answers is None and len(test.tags) == 9 and len(test.candidates) == 10


def test_a_zip_cut_in_the_middle_of_a_record_is_named_with_its_line(real_data: Path, tmp_path: Path) -> None:
    card, source = opened(real_data, "cmrc2018")
    raw = source.read("trial.json")
    cut = raw[: raw.index(b"QUERY_3") + 3]
    line = cut.count(b"\n") + 1
    with zipfile.ZipFile(tmp_path / "cmrc2018_public.zip", "w") as archive:
        archive.writestr("trial.json", cut)
    with pytest.raises(DataError, match="cut off in the middle") as caught:
        read_reading_records(card, open_source(tmp_path / "cmrc2018_public.zip", card), "trial")
    assert caught.value.headline.where == f"{tmp_path}/cmrc2018_public.zip:trial.json:{line}"
