"""C3 and ChID layouts: several files a split, numbers of choices, tags and their answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import pytest

from clue_runner.data.cards import Card, find_card
from clue_runner.data.layouts import READERS, read_records
from clue_runner.data.readers import choice as readers_choice
from clue_runner.data.readers import cloze as readers_cloze
from clue_runner.data.readers.choice import read_choice_records
from clue_runner.data.readers.cloze import read_cloze_records
from clue_runner.data.sources import FolderSource
from clue_runner.errors import DataError


def make_card(layout: str, **splits: Any) -> Card:
    return Card.model_validate(
        {
            "name": "choices",
            "title": {"zh": "选择", "en": "choices"},
            "version": "1",
            "adapter": "choice",
            "layout": layout,
            "metric": "accuracy",
            "id_field": "id",
            "splits": splits,
            "max_length": 128,
            "licence": "none",
            "paper": "none",
        }
    )


def source(folder: Path, files: dict[str, str]) -> FolderSource:
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8", newline="")
    return FolderSource("folder", {name: folder / name for name in files})


C3 = make_card(
    "c3",
    train={
        "file": "d-train.json",
        "also": ["c3-d-train.json"],
        "more": [{"file": "m-train.json"}],
        "records": [3],
    },
    test={"file": "test1.1.json", "labelled": False},
)


def asked(choices: Any, answer: str | None = None, **more: Any) -> dict[str, Any]:
    return {
        "question": "几点？",
        "choice": choices,
        **({"answer": answer} if answer is not None else {}),
        **more,
    }


def passages(*questions: list[dict[str, Any]]) -> str:
    value = [[["男：走吧。", "女：好。"], group, f"1-{place}"] for place, group in enumerate(questions)]
    return json.dumps(value, ensure_ascii=False, indent=1).replace("\n", "\r\n")


def c3_fault(folder: Path, text: str) -> DataError:
    with pytest.raises(DataError) as caught:
        read_choice_records(C3, source(folder, {"d-train.json": text, "m-train.json": "[]"}), "train")
    assert caught.value.exit_code == 3
    return caught.value


def test_c3_files_follow_one_another_and_questions_are_numbered_over_both(tmp_path: Path) -> None:
    files = {
        "d-train.json": passages([asked(["一点", "两点"], "两点")], [asked(["甲", "乙", "丙"], "甲")]),
        "m-train.json": passages([asked(["a", "b", "c", "d"], "d")]),
    }
    records = read_choice_records(C3, source(tmp_path, files), "train")
    assert [(record.id, record.answer, record.passage_number) for record in records.items] == [
        (0, 1, 0),
        (1, 0, 1),
        (2, 3, 2),
    ]
    assert records.items[0].passage == ("男：走吧。", "女：好。")
    assert records.file == "d-train.json + m-train.json"
    assert (records.total, records.complete, records.warnings) == (3, True, ())


def test_c3_older_spelling_is_found_and_a_missing_second_file_is_said(tmp_path: Path) -> None:
    files = {"c3-d-train.json": passages([asked(["一", "二"], "一")])}
    with pytest.raises(DataError, match="no file m-train.json found"):
        read_choice_records(C3, source(tmp_path, files), "train")


def test_c3_tests_have_own_ids_and_up_to_ten_choices(tmp_path: Path) -> None:
    many = [str(number) for number in range(10)]
    text = json.dumps([[["一。"], [asked(many, id=508), asked(["甲", "乙"], id=12)]]], ensure_ascii=False)
    records = read_choice_records(C3, source(tmp_path, {"test1.1.json": text}), "test")
    assert [(record.id, len(record.choices), record.answer) for record in records.items] == [
        (508, 10, None),
        (12, 2, None),
    ]


def test_c3_a_repeated_choice_takes_the_first_and_is_counted(tmp_path: Path) -> None:
    files = {
        "d-train.json": passages(
            [asked(["六块", "五块", "五块"], "五块")], [asked(["甲", "乙", "甲"], "乙")]
        ),
        "m-train.json": "[]",
    }
    records = read_choice_records(C3, source(tmp_path, files), "train")
    assert records.items[0].answer == 1
    assert records.counts == {readers_choice.REPEATED: 2, readers_choice.REPEATED_ANSWER: 1}
    assert any("2 questions that repeat a choice" in warning for warning in records.warnings)


def test_c3_an_answer_that_is_no_choice_is_named_with_its_line(tmp_path: Path) -> None:
    text = passages([asked(["一", "二"], "一")], [asked(["一", "二"], "一"), asked(["一", "二"], "三")])
    error = c3_fault(tmp_path, text)
    before = text[: text.index("三")].split("\n")
    opening = max(number for number, row in enumerate(before, 1) if row.strip() == "{")
    assert error.problems[0].where == f"{tmp_path}/d-train.json:{opening}"
    assert "the answer '三' is not among the choices (allowed: 一, 二)" in str(error)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{}", "the file must be a list"),
        ("[[[]]]", "expected [lines, questions, id]"),
        ('[[["a"], {}]]', "the questions must be a list"),
        ('[[["a"], [3]]]', "expected an object with a string 'question'"),
        (passages([asked(["一"], "一")]), "'choice' must be a list of two or more strings"),
        (passages([asked(["一", 2], "一")]), "'choice' must be a list of two or more strings"),
        (passages([asked(["一", "二"])]), "the answer None is not among the choices"),
        (
            passages([asked(["一", "二"], "一", id=1), asked(["一", "二"], "一", id=1)]),
            "the question id 1 appears twice",
        ),
        (passages([asked(["一", "二"], "一")])[:-30], "the file is cut off in the middle of a record"),
        ("[]", "the train split is empty"),
    ],
)
def test_c3_broken_files(tmp_path: Path, text: str, message: str) -> None:
    assert message in str(c3_fault(tmp_path, text))


CHID = make_card(
    "chid",
    train={"file": "train.json", "answers": {"file": "train_answer.json"}},
    test={"file": "test1.1.json", "labelled": False},
    few={"file": "few.json"},
)
IDIOMS = ["画蛇添足", "守株待兔", "亡羊补牢", "刻舟求剑"]


def cloze(*passages: str, candidates: Any = IDIOMS, **more: Any) -> str:
    return (
        json.dumps({"candidates": candidates, "content": list(passages), **more}, ensure_ascii=False) + "\n"
    )


def chid_fault(folder: Path, records: str, answers: str) -> DataError:
    with pytest.raises(DataError) as caught:
        read_cloze_records(
            CHID, source(folder, {"train.json": records, "train_answer.json": answers}), "train"
        )
    assert caught.value.exit_code == 3
    return caught.value


def test_chid_tags_in_passage_order_with_their_answers(tmp_path: Path) -> None:
    files = {
        "train.json": cloze("前#idiom000001#后#idiom000000#", "又#idiom000002#") + cloze("再#idiom000003#"),
        "train_answer.json": '{"#idiom000000#": 3, "#idiom000001#": 0, '
        '"#idiom000002#": 1, "#idiom000003#": 2}',
    }
    records = read_cloze_records(CHID, source(tmp_path, files), "train")
    assert records.items[0].tags == ("#idiom000001#", "#idiom000000#", "#idiom000002#")
    assert records.items[0].answers == (0, 3, 1)
    assert [record.id for record in records.items] == [0, 1]
    assert records.counts == {"blanks": 4}


def test_chid_test_records_need_no_answers(tmp_path: Path) -> None:
    records = read_cloze_records(CHID, source(tmp_path, {"test1.1.json": cloze("#idiom623377#。")}), "test")
    assert records.items[0].answers is None


def test_fewclue_layout_has_the_answer_in_the_record(tmp_path: Path) -> None:
    row = {"id": 3000, "candidates": IDIOMS * 2, "content": "他#idiom#。", "answer": 2}
    text = (
        json.dumps(row, ensure_ascii=False)
        + "\n"
        + json.dumps({**row, "id": 3001, "answer": 0}, ensure_ascii=False)
    )
    records = read_cloze_records(CHID, source(tmp_path, {"few.json": text}), "few")
    assert [(record.id, record.tags, record.answers) for record in records.items] == [
        (3000, ("#idiom#",), (2,)),
        (3001, ("#idiom#",), (0,)),
    ]
    assert records.counts[readers_cloze.REPEATED] == 2


@pytest.mark.parametrize(
    ("records", "answers", "where", "message"),
    [
        (
            cloze("#idiom000000#和#idiom000000#"),
            '{"#idiom000000#": 0}',
            "train.json:1",
            "appears twice in the record",
        ),
        (
            cloze("#idiom000000#") * 2,
            '{"#idiom000000#": 0}',
            "train.json:2",
            "the tag #idiom000000# is also on line 1",
        ),
        (cloze("没有空"), "{}", "train.json:1", "no blank"),
        (
            cloze("#idiom000000#"),
            '{"#idiom000001#": 0}',
            "train.json:1",
            "no answer for #idiom000000# in ",
        ),
        (cloze("#idiom000000#"), '{"#idiom000000#": 4}', "train.json:1", "not an index into 4 candidates"),
        (
            cloze("#idiom000000#"),
            '{\n"#idiom000000#": "1"}',
            "train_answer.json:2",
            "must be an index from 0, got '1'",
        ),
        (cloze("#idiom000000#"), "[]", "train_answer.json:1", "one object that maps tags to indices"),
        (
            cloze("#idiom000000#", candidates=["一"]),
            '{"#idiom000000#": 0}',
            "train.json:1",
            "expected texts under",
        ),
        (cloze("#idiom000000#")[:-20], '{"#idiom000000#": 0}', "train.json:1", "not JSON"),
    ],
)
def test_chid_broken_files(tmp_path: Path, records: str, answers: str, where: str, message: str) -> None:
    error = chid_fault(tmp_path, records, answers)
    assert error.problems[0].where == f"{tmp_path}/{where}"
    assert message in str(error.problems[0])


def test_chid_a_tag_answered_twice_is_refused_with_its_line(tmp_path: Path) -> None:
    error = chid_fault(tmp_path, cloze("#idiom000000#"), '{"#idiom000000#": 0,\n\n"#idiom000000#": 1}')
    assert error.headline.where == f"{tmp_path}/train_answer.json:3"
    assert "the key '#idiom000000#' appears twice" in str(error)


def test_chid_answers_without_a_record_are_a_warning(tmp_path: Path) -> None:
    files = {
        "train.json": cloze("#idiom000000#"),
        "train_answer.json": '{"#idiom000000#": 0, "#idiom000009#": 1}',
    }
    records = read_cloze_records(CHID, source(tmp_path, files), "train")
    assert records.counts[readers_cloze.UNUSED] == 1
    assert len(records.warnings) == 1


def test_the_layout_of_the_card_chooses_the_reader(tmp_path: Path) -> None:
    files = source(tmp_path, {"test1.1.json": cloze("#idiom623377#。")})
    card = CHID.model_copy(update={"layout": "chid"})
    assert read_records(card, files, "test").items == read_cloze_records(CHID, files, "test").items
    assert set(get_args(Card.model_fields["layout"].annotation)) == set(READERS)


def test_ids_are_compared_as_text(tmp_path: Path) -> None:
    question = {"question": "?", "choice": ["一", "二"], "answer": "一"}
    passages = [[["文"], [question | {"id": 1}, question | {"id": "1"}], "d"]]
    (tmp_path / "d-train.json").write_text(json.dumps(passages), encoding="utf-8")
    with pytest.raises(DataError, match="the question id '1' appears twice"):
        read_choice_records(
            find_card("c3").model_copy(
                update={"splits": {"train": find_card("c3").splits["train"].model_copy(update={"more": []})}}
            ),
            FolderSource("c3", {"d-train.json": tmp_path / "d-train.json"}),
            "train",
        )
    rows = [{"id": name, "content": f"#idiom00000{name}#", "candidates": ["一", "二"]} for name in (1, "1")]
    (tmp_path / "test1.1.json").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    with pytest.raises(DataError, match="id '1' is also on line 1"):
        read_cloze_records(
            find_card("chid").model_copy(update={"id_field": "id"}),
            FolderSource("chid", {"test1.1.json": tmp_path / "test1.1.json"}),
            "test1.1",
        )
