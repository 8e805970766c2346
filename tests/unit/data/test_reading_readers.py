"""SQuAD shape: offsets repaired, contradictions refused, places named in a file that is one JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from clue_runner.data.cards import Card
from clue_runner.data.readers import reading as readers_reading
from clue_runner.data.readers.json_document import parse_document
from clue_runner.data.readers.reading import nearest_occurrence, read_reading_records
from clue_runner.data.records import Answer, ReadingRecord, Records
from clue_runner.data.sources import FolderSource
from clue_runner.errors import DataError

CONTEXT = "甲城在河北，乙城在河南，丙城也在河北。"


def make_card() -> Card:
    return Card.model_validate(
        {
            "name": "spans",
            "title": {"zh": "阅读", "en": "reading"},
            "version": "1",
            "adapter": "reading",
            "layout": "squad",
            "metric": "em",
            "splits": {
                "train": {"file": "train.json", "records": [2]},
                "test": {"file": "test.json", "labelled": False},
            },
            "max_length": 128,
            "licence": "none",
            "paper": "none",
        }
    )


def answer(text: str, start: int) -> dict[str, Any]:
    return {"text": text, "answer_start": start}


def document(*questions: dict[str, Any], context: Any = CONTEXT, indent: int | None = 1) -> str:
    value = {
        "version": "v1.0",
        "data": [{"paragraphs": [{"id": "P", "context": context, "qas": list(questions)}]}],
    }
    return json.dumps(value, ensure_ascii=False, indent=indent)


def question(name: str, *answers: dict[str, Any]) -> dict[str, Any]:
    return {"id": name, "question": "哪里？", "answers": list(answers)}


def read(folder: Path, text: str, split: str = "train", **options: Any) -> Records[ReadingRecord]:
    path = folder / f"{split}.json"
    path.write_text(text, encoding="utf-8", newline="")
    return read_reading_records(make_card(), FolderSource("folder", {path.name: path}), split, **options)


def refused(folder: Path, text: str) -> DataError:
    with pytest.raises(DataError) as caught:
        read(folder, text)
    assert caught.value.exit_code == 3
    return caught.value


def test_questions_in_file_order_with_all_references(tmp_path: Path) -> None:
    records = read(
        tmp_path,
        document(question("Q2", answer("河北", 3), answer("在河北", 2)), question("Q1", answer("河南", 9))),
    )
    assert [record.id for record in records.items] == ["Q2", "Q1"]
    assert records.items[0].references == ("河北", "在河北")
    assert records.items[0].target == Answer("河北", 3)
    assert (records.total, records.complete, records.warnings, records.counts) == (2, True, (), {})


@pytest.mark.parametrize(("start", "repaired"), [(4, 3), (2, 3), (14, 16), (18, 16), (-1, 3)])
def test_a_wrong_offset_moves_to_the_nearest_occurrence(tmp_path: Path, start: int, repaired: int) -> None:
    records = read(tmp_path, document(question("Q", answer("河北", start))))
    assert records.items[0].target == Answer("河北", repaired)
    assert records.counts == {readers_reading.REPAIRED: 1}
    assert any("1 answers moved" in warning for warning in records.warnings)


def test_of_two_occurrences_as_near_the_earlier_is_taken() -> None:
    assert nearest_occurrence("甲", "甲乙甲", 1) == 0
    assert nearest_occurrence("aa", "baaa", 2) == 2
    assert nearest_occurrence("丁", "甲乙甲", 1) is None


def test_a_free_answer_stays_in_gold_and_out_of_training(tmp_path: Path) -> None:
    text = document(
        question("Q1", answer("河北省", -1)), question("Q2", answer("河北省", -1), answer("河北", 3))
    )
    records = read(tmp_path, text)
    assert records.items[0].references == ("河北省",)
    assert records.items[0].target is None
    assert records.items[1].target == Answer("河北", 3)
    assert records.counts == {readers_reading.NOWHERE: 2, readers_reading.UNTRAINABLE: 1}


def test_an_answer_with_an_offset_that_stands_nowhere_is_refused(tmp_path: Path) -> None:
    text = document(question("Q1", answer("河北", 3)), question("Q2", answer("湖北", 3)))
    error = refused(tmp_path, text)
    line = next(number for number, row in enumerate(text.split("\n"), 1) if "湖北" in row)
    assert error.problems[0].where == f"{tmp_path}/train.json:{line - 1}"  # the answer's opening brace
    assert "question Q2: the answer '湖北' is not in the context" in str(error)


def test_two_questions_of_one_id_are_refused(tmp_path: Path) -> None:
    error = refused(tmp_path, document(question("Q", answer("河北", 3)), question("Q", answer("河南", 9))))
    assert "question Q: the id appears twice" in str(error)
    numbered = [{**question("1", answer("河北", 3)), "id": name} for name in (1, "1")]
    assert "question 1: the id appears twice" in str(refused(tmp_path, document(*numbered)))


def test_placeholders_are_no_answers(tmp_path: Path) -> None:
    text = document(question("T", answer("FAKE_ANSWER_1", -1), answer("FAKE_ANSWER_2", -1)))
    records = read(tmp_path, text, "test")
    assert records.items[0].answers == () and records.counts == {}
    assert "no answer, but this split needs one" in str(refused(tmp_path, text))


def test_answers_of_an_unlabelled_split_are_not_used_unless_asked_for(tmp_path: Path) -> None:
    text = document(question("T", answer("河北", 3)))
    records = read(tmp_path, text, "test")
    assert records.items[0].answers == ()
    assert any("not used" in warning for warning in records.warnings)
    assert read(tmp_path, text, "test", labelled=True).items[0].references == ("河北",)


def test_an_empty_question_is_kept_and_counted(tmp_path: Path) -> None:
    records = read(tmp_path, document({**question("Q", answer("河北", 3)), "question": ""}))
    assert records.items[0].question == ""
    assert records.counts == {readers_reading.NO_QUESTION: 1}


def test_offsets_count_characters_and_newlines_stay(tmp_path: Path) -> None:
    records = read(tmp_path, document(question("Q", answer("河", 3)), context="𠮷\n\u2028河"))
    assert records.items[0].target == Answer("河", 3)
    assert records.items[0].context == "𠮷\n\u2028河"


def test_wrong_counts_are_a_warning(tmp_path: Path) -> None:
    records = read(tmp_path, document(question("Q", answer("河北", 3))))
    assert not records.complete
    (warning,) = records.warnings
    assert Path(warning.partition(" has ")[0]).is_file() and warning.endswith(
        "/train.json has 1 records, the official file has 2"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "expected an object with a list 'data'"),
        ('{"data": [3]}', "expected an object, got 3"),
        (document(context=""), "'context' must be a non-empty string"),
        (document({"id": 3.5, "question": "?"}), "'id' must be a string or an integer, got 3.5"),
        (document({"id": "Q", "question": None}), "'question' must be a string"),
        (document({"id": "Q", "question": "?"}), "no answer, but this split needs one"),
        (document({"id": "Q", "question": "?", "answers": {}}), "'answers' must be a list"),
        (document(question("Q", {"text": "河北"})), "needs 'text' and an integer 'answer_start'"),
        (document(question("Q", answer("", 0))), "needs 'text' and an integer 'answer_start'"),
    ],
)
def test_other_shapes(tmp_path: Path, text: str, message: str) -> None:
    assert message in str(refused(tmp_path, text))


def test_a_cut_file_is_named_with_line_and_column(tmp_path: Path) -> None:
    whole = document(question("Q1", answer("河北", 3)), question("Q2", answer("河南", 9)))
    cut = whole[: whole.index("Q2") + 1]
    error = refused(tmp_path, cut)
    assert error.headline.where == f"{tmp_path}/train.json:{len(cut.split(chr(10)))}"
    assert "the file is cut off in the middle of a record" in str(error) and "column" in str(error)
    assert "the file is cut" in str(refused(tmp_path, whole[:-1]))
    assert "the file is cut" not in str(refused(tmp_path, whole.replace('"Q1",', '"Q1"')))


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b'{"a": 1,\n "b": 2,\n "a": 3}', "f.json:3: the key 'a' appears twice"),
        (b'{"a": "\n\xff"}', "f.json:2: not UTF-8"),
        (b'{"a": NaN}', "NaN is not JSON"),
        (b'{"a": "\\ud800"}', "half a character"),
        (b"[" * 100_000, "nested too deeply"),
        (b"9" * 5000, "not JSON"),
        (b"", "the file is cut"),
    ],
)
def test_documents_that_are_not_json(raw: bytes, message: str) -> None:
    with pytest.raises(DataError) as caught:
        parse_document(raw, "f.json")
    assert message in str(caught.value)


def test_places_are_found_by_path_through_any_layout() -> None:
    text = '\ufeff{"x": [1, {"y": "\\"]}"}],\r\n "data" : [\n  {"q": []},\n\n  {"q": [5,\n 6]}]}'
    found = parse_document(text.encode("utf-8"), "f")
    assert found.where() == "f:1"
    assert found.where("data") == "f:2"
    assert found.where("data", 1) == "f:5"
    assert found.where("data", 1, "q", 1) == "f:6"
