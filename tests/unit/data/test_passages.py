"""Questions with passages: both layouts, bad input with its line, splits, mixes."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from clue_runner.data.cards import find_card
from clue_runner.data.foreign.questions import contents, convert, open_questions, split_by_order, to_bytes
from clue_runner.data.locate import locate, open_source
from clue_runner.data.new_folder import write_new_folder
from clue_runner.data.readers.passages import NO_QUESTION, NOWHERE, parse_questions, read_passage_records
from clue_runner.data.records import Passage, PassagesRecord
from clue_runner.errors import DataError

CARD = find_card("webqa")
GOOD: dict[str, Any] = {
    "id": "a",
    "question": "谁？",
    "passages": [{"passage": "是张三。", "answer": "张三"}, {"passage": "不知道", "answer": ""}],
}


def raw(*records: Any) -> bytes:
    return ("[\n" + ",\n".join(json.dumps(one, ensure_ascii=False) for one in records) + "\n]").encode()


def annotated(answer: Any = ("法国",), evidence: Any = "法国最高") -> bytes:
    one = {"question": "哪国？", "evidences": {"Q#00": {"answer": list(answer), "evidence": evidence}}}
    return json.dumps({"Q": one}).encode()


def test_the_list_layout() -> None:
    found = parse_questions(raw(GOOD), "f.json")
    assert found.items == (
        PassagesRecord("a", "谁？", (Passage("是张三。", ("张三",)), Passage("不知道")), ("张三",)),
    )


def test_webqas_layout_plain_and_zipped() -> None:
    for content in (annotated(), gzip.compress(annotated())):
        (record,) = parse_questions(content, "me_test.ann.json").items
        assert record == PassagesRecord("Q", "哪国？", (Passage("法国最高", ("法国",)),), ("法国",))
    (record,) = parse_questions(annotated(("no_answer",)), "f").items
    assert record.answers == () and record.passages[0].answers == ()


def test_webqas_answers_that_stand_nowhere_are_counted_and_still_score() -> None:
    found = parse_questions(annotated(("德国",)), "f")
    assert found.counts == {NOWHERE: 1}
    assert found.items[0].answers == ("德国",) and found.items[0].passages[0].answers == ()


def test_records_without_a_question_are_left_out_with_a_count() -> None:
    found = parse_questions(raw(GOOD, {"passages": GOOD["passages"]}), "f.json")
    assert len(found.items) == 1 and found.total == 2 and found.skipped == {NO_QUESTION: 1}


def test_a_question_without_passages_is_kept() -> None:
    (record,) = parse_questions(raw({"id": 1, "question": "谁？", "passages": []}), "f.json").items
    assert record.passages == () and record.answers == ()


def test_answers_of_a_split_without_labels_are_dropped() -> None:
    (record,) = parse_questions(raw(GOOD), "f.json", labelled=False).items
    assert record.answers is None and all(passage.answers == () for passage in record.passages)


@pytest.mark.parametrize(
    ("record", "says"),
    [
        ({**GOOD, "id": "b", "passages": [{"passage": " ", "answer": ""}]}, "a passage has no text"),
        ({**GOOD, "id": "b", "passages": [{"answer": "x"}]}, "a passage has no text"),
        ({**GOOD, "id": "b", "passages": [{"passage": "是李四", "answer": "张三"}]}, "appears nowhere"),
        ({**GOOD, "id": "b", "passages": None}, "'passages' must be a list"),
        ({**GOOD, "id": "b", "passages": [{"passage": "x", "answer": 3}]}, "'answer' must be a string"),
        ({**GOOD, "id": "b", "question": ["谁"]}, "'question' must be a string"),
        ({**GOOD, "id": None}, "'id' must be"),
        ({**GOOD, "id": "b", "repeat": 0}, "'repeat' must be"),
        (["x"], "expected an object"),
        (GOOD, "the id appears twice"),
    ],
)
def test_bad_records_are_named_with_their_line(record: Any, says: str) -> None:
    with pytest.raises(DataError, match=says) as caught:
        parse_questions(raw(GOOD, record), "f.json")
    assert caught.value.exit_code == 3 and "f.json:3" in str(caught.value)


def test_ids_are_compared_as_text() -> None:
    with pytest.raises(DataError, match="the id appears twice"):
        parse_questions(raw({**GOOD, "id": 7}, {**GOOD, "id": "7"}), "f.json")


@pytest.mark.parametrize("evidence", ["", None, 3])
def test_an_evidence_without_text_is_named(evidence: Any) -> None:
    with pytest.raises(DataError, match="f:1: question Q: an evidence has no text"):
        parse_questions(annotated(evidence=evidence), "f")


@pytest.mark.parametrize("content", [b"", b"{", b"[1", b"3", b'{"a": 3}', gzip.compress(annotated())[:-9]])
def test_what_is_no_such_file_is_refused(content: bytes) -> None:
    with pytest.raises(DataError):
        parse_questions(content, "f.json")


def many(count: int) -> list[dict[str, Any]]:
    return [{**GOOD, "id": number} for number in range(count)]


def test_the_split_follows_from_the_seed_and_keeps_the_files_order() -> None:
    items = parse_questions(raw(*many(50)), "f").items
    one, again, other = (split_by_order(items, seed, 0.2) for seed in (1, 1, 2))
    assert one == again and one["dev"] != other["dev"]
    assert len(one["dev"]) == 10 and {r.id for r in one["train"]} | {r.id for r in one["dev"]} == set(
        range(50)
    )
    assert [r.id for r in one["train"]] == sorted(r.id for r in one["train"])


def test_a_single_file_is_train_and_dev(tmp_path: Path) -> None:
    path = tmp_path / "WebQA.json"
    path.write_bytes(raw(*many(10), {"id": 11, "passages": []}))
    source = open_source(path, CARD)
    assert source.names() == ["dev.json", "train.json"] and source.label == str(path)
    train, dev = (read_passage_records(CARD, source, split) for split in ("train", "dev"))
    assert len(train) == 8 and len(dev) == 2
    assert (
        f"{tmp_path}/WebQA.json: 1 records without a question" in train.warnings
    )  # said once, though both come of it
    assert not any("without a question" in text for text in dev.warnings)
    with pytest.raises(DataError):
        source.read("test.json")


def test_converted_records_read_back_equal(tmp_path: Path) -> None:
    path = tmp_path / "f.json"
    path.write_bytes(annotated(("德国", "法国"), "法国和英国") + b"\n")
    items = parse_questions(path.read_bytes(), "f").items
    assert parse_questions(to_bytes(items), "g").items == items


def test_a_mix_counts_the_own_questions_twice_and_renames_equal_ids(tmp_path: Path) -> None:
    for name in ("own.json", "other.json"):
        (tmp_path / name).write_bytes(raw(*many(5)))
    found = convert(tmp_path / "own.json", mix=tmp_path / "other.json")
    train = found.splits["train"]
    assert [record.repeat for record in train] == [2] * 4 + [1] * 5
    assert len({str(record.id) for record in train}) == 9 and len(found.splits["dev"]) == 1
    files = contents(found)
    write_new_folder(tmp_path / "out", files, "--output")
    assert sorted(files) == ["dev.json", "train.json"]
    source = open_source(tmp_path / "out", CARD)
    assert read_passage_records(CARD, source, "train").items == train


def test_webqas_folder_keeps_its_own_splits(tmp_path: Path) -> None:
    for name in ("me_train.json", "me_validation.ann.json"):
        (tmp_path / name).write_bytes(annotated())
    (tmp_path / "me_test.ann.json.gz").write_bytes(gzip.compress(annotated()))
    found = convert(tmp_path)
    assert set(found.splits) == {"train", "dev", "test"}
    write_new_folder(tmp_path / "out", contents(found), "--output")
    source = open_source(tmp_path / "out", CARD)
    assert read_passage_records(CARD, source, "test").items[0].answers is None
    assert b'answer": ""' in source.read("test.json")


@pytest.mark.parametrize("name", ["webqa", "sogouqa"])
def test_the_samples_are_whole_and_answerable(name: str) -> None:
    card = find_card(name)
    assert card.sample is not None
    for split, count in card.sample.records.items():
        records = read_passage_records(card, locate(card, "sample"), split)
        assert len(records) == count and records.warnings == ()
        if split != "test":
            assert all(record.answers for record in records.items)


@pytest.mark.real_data
def test_the_published_samples(real_data: Path) -> None:
    folder = real_data / "dgcnn"
    counts = {}
    for name in ("WebQA.json", "SogouQA.json"):
        found = parse_questions((folder / name).read_bytes(), name)
        texts = [passage for record in found.items for passage in record.passages]
        counts[name] = (len(found.items), found.total, sum(not passage.answers for passage in texts))
        assert found.skipped == {NO_QUESTION: 1}
    # 130 and 137 passages without answer over all records, less those of the record without question
    assert counts["WebQA.json"][:2] == (11, 12) and counts["SogouQA.json"][:2] == (21, 22)
    found = parse_questions((folder / "webqa_v1_me_test.ann.json.gz").read_bytes(), "me_test")
    assert len(found.items) == 3024 and found.counts == {NOWHERE: 18}
    source = open_questions(folder / "webqa_v1_me_test.ann.json.gz")
    sizes = [len(read_passage_records(CARD, source, split)) for split in ("train", "dev")]
    assert sizes == [2419, 605]
