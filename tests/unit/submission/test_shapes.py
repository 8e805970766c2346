"""Files that are one object, indices of choices, and all files of a benchmark in one zip."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from clue_runner.data.cards import Card, Submission, all_cards, find_card
from clue_runner.data.layouts import read_records
from clue_runner.data.locate import locate
from clue_runner.data.records import Answer, ChoiceRecord, ClozeRecord, ReadingRecord, Records
from clue_runner.errors import DataError
from clue_runner.submission.answers import read_predictions
from clue_runner.submission.check import check_file, count_warning
from clue_runner.submission.forms import Form
from clue_runner.submission.pack import pack
from clue_runner.submission.predictions import align
from clue_runner.submission.report import check_paths
from clue_runner.submission.values import asked_ids
from clue_runner.submission.writers import json_object

IDIOMS = ("守株待兔", "目瞪口呆", "一举两得")


def blanks(split: str, *names: tuple[str, ...]) -> Records[ClozeRecord]:
    items = [
        ClozeRecord(place, tuple(f"他{tag}。" for tag in tags), tags, IDIOMS, (0,) * len(tags), place + 1)
        for place, tags in enumerate(names)
    ]
    return Records(split, items, f"{split}.json", "", len(items))


CHID = blanks("test1.1", ("#idiom000002#", "#idiom000001#"), ("#idiom000003#",))
GOOD = {"#idiom000002#": 2, "#idiom000001#": 0, "#idiom000003#": 1}


def said(raw: bytes | dict[str, Any], records: Any = CHID, **given: Any) -> list[str]:
    card = find_card("chid")
    data = raw if isinstance(raw, bytes) else (json.dumps(raw, indent=0) + "\n").encode()
    return [str(problem) for problem in check_file(card, card.submissions[0], data, records, **given)]


def test_what_is_written_passes() -> None:
    raw = json_object(GOOD.items(), find_card("chid").submissions[0])
    assert said(raw) == []
    assert said(json.dumps(GOOD).encode()) == []  # on one line, without a newline
    assert said(dict(reversed(GOOD.items()))) == []  # ids decide, not their order


def test_a_missing_tag_is_named_with_the_command() -> None:
    (problem,) = said({tag: GOOD[tag] for tag in list(GOOD)[:2]})
    assert "1 of 3 ids of test1.1.json have no answer" in problem
    assert "#idiom000003#" in problem and "clue predict --task chid --split test" in problem


def test_a_strange_tag_is_named_with_its_line() -> None:
    (problem,) = said({**GOOD, "#idiom000009#": 0})
    assert problem.startswith("chid11_predict.json:5: 1 ids are not in test1.1.json")


def test_the_other_version_is_recognised() -> None:
    other = blanks("test1.0", ("#idiom000007#",))
    (problem,) = said({"#idiom000007#": 0}, others={"test1.0": other})
    assert "the ids are those of test1.0" in problem


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (3, "chid11_predict.json:3: the index is not a choice, got 3 (allowed: 0 to 2)"),
        (-1, "the index is not a choice, got -1"),
        ("1", "the answer is not a number, got '1'"),
        ("目瞪口呆", "a choice's text instead of its index (write 1)"),
        (True, "the answer is not a number"),
        (1.0, "the answer is not a number"),
        (None, "the answer is not a number"),
    ],
)
def test_wrong_answers(value: object, expected: str) -> None:
    (problem,) = said({**GOOD, "#idiom000001#": value})
    assert expected in problem


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"", "the file is empty"),
        (b"[1, 2]", "the file is one JSON list"),
        (b"{}", "the object has no answers"),
        (b'{"id": 0, "label": 1}\n{"id": 1, "label": 1}\n', "2 lines of records, not one object"),
        (b'{"id": 0, "label": 1}\n', "a single line of id and label"),
        (b'{\n"#idiom000002#": 1,\n"#idiom0', "chid11_predict.json:3: the file is cut off in the middle"),
        (b'{\n"#idiom000002#": 1,\n"#idiom000002#": 2}', "json:3: an id has two answers, got #idiom000002#"),
        (b'{"#idiom000002#": NaN}', "NaN or Infinity is not JSON"),
        (b"\xef\xbb\xbf" + json.dumps(GOOD).encode(), "byte order mark"),
        ("{“a”: 1}".encode(), "the file is not JSON"),
        ("{}".encode("utf-16"), "byte order mark"),
        (b"\x80", "not UTF-8"),
    ],
)
def test_other_forms_are_named(raw: bytes, expected: str) -> None:
    assert any(expected in problem for problem in said(raw)), said(raw)


def test_a_short_test_file_is_a_warning_because_no_source_counts_blanks() -> None:
    card = find_card("chid")
    assert said(GOOD) == []
    warning = count_warning(card, card.submissions[0], CHID)
    assert warning is not None and "2 records where the official file has 3,447" in warning


def test_answers_to_the_sample_are_known_by_their_tags() -> None:
    card = find_card("chid")
    records = read_records(card, locate(card, "sample"), "test1.1")
    answers = dict.fromkeys(asked_ids(records), 0)
    (problem,) = said(answers, None)
    assert "sample records that ship with the card, not for upload" in problem
    assert said(answers, records, sample=True) == []
    short = said(dict(list(answers.items())[:-2]), records, sample=True)
    assert any("2 of" in one and "have no answer" in one for one in short)


READING = Records(
    "test",
    [ReadingRecord(f"TEST_{n}", "文", "问", (Answer("文", 0),)) for n in range(3)],
    "test.json",
    "",
    3,
)


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ({"TEST_0": "文", "TEST_1": "", "TEST_2": "文"}, None),
        ({"TEST_0": "文", "TEST_1": 3, "TEST_2": "文"}, "the answer is not a string"),
        ({"TEST_0": "文", "TEST_1": ["文"], "TEST_2": "文"}, "the answer is not a string"),
        ({"TEST_0": "FAKE_ANSWER_1", "TEST_1": "", "TEST_2": "文"}, "the test file's placeholder"),
        ({"TEST_0": "文", "TEST_2": "文"}, "2 answers instead of 3"),
        ({"TEST_0": "文", "DEV_1": "文", "TEST_2": "文"}, "an answer to TEST_1"),
    ],
)
def test_answers_to_questions(answers: dict[str, object], expected: str | None) -> None:
    card = find_card("chid")
    splits = {"test": card.splits["test1.1"].model_copy(update={"records": [3]})}
    changes = {"layout": "squad", "name": "reading", "splits": splits, "sample": None, "submissions": []}
    card = card.model_copy(update=changes)
    submission = Submission(
        split="test", file="r.json", id_type="str", shape="object", benchmarks=[], source="made up"
    )
    raw = json.dumps(answers, ensure_ascii=False).encode()
    problems = [str(one) for one in check_file(card, submission, raw, READING)]
    assert (problems == []) if expected is None else any(expected in one for one in problems)


CHOICES = Records(
    "test1.1",
    [ChoiceRecord(n, ("文",), "问", tuple("甲乙丙丁戊己"[:size]), None, n) for n, size in enumerate((2, 6))],
    "test1.1.json",
    "",
    2,
)


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ('{"id":0,"label":1}\n{"id":1,"label":5}\n', None),
        (
            '{"id":0,"label":2}\n{"id":1,"label":5}\n',
            ":1: the index is not a choice, got 2 (allowed: 0 to 1)",
        ),
        ('{"id":0,"label":1}\n{"id":1,"label":"5"}\n', ":2: the answer is not a number"),
        ('{"id":0,"label":"乙"}\n{"id":1,"label":5}\n', "a choice's text instead of its index (write 1)"),
        ('{"id":1,"label":1}\n{"id":0,"label":1}\n', "not in the order of test1.1.json"),
        ('{"id":0,"label":1}\n', "1 lines instead of 2"),
        ("[0, 1]\n", "one JSON list of 2 items"),
    ],
)
def test_choices_by_line(lines: str, expected: str | None) -> None:
    card = find_card("c3")
    splits = {**card.splits, "test1.1": card.splits["test1.1"].model_copy(update={"records": [2]})}
    card = card.model_copy(update={"splits": splits, "sample": None})
    problems = [str(one) for one in check_file(card, card.submissions[0], lines.encode(), CHOICES)]
    assert (problems == []) if expected is None else any(expected in one for one in problems), problems


# ---------------------------------------------------------------------------- all files of a benchmark


def answers_to_sample(card: Card, submission: Submission) -> bytes:
    """A file of some answers to the card's sample, in the form that the card asks for."""
    from clue_runner.adapters.base import Prediction, load_adapter

    records = read_records(card, locate(card, "sample"), submission.split)
    answers: dict[str, Any] = {
        "cloze": lambda record: dict.fromkeys(record.tags, 0),
        "choice": lambda record: 0,
        "reading": lambda record: record.context[:2],
        "entities": lambda record: {},
        "classification": lambda record: card.label_names[0],
    }
    found = [Prediction(record.id, answers[card.adapter](record)) for record in records.items]
    return load_adapter(card).submit(found, submission)


@pytest.mark.parametrize(("benchmark", "count"), [("clue1.1", 9), ("clue1.0", 9), ("cluener", 1)])
def test_every_file_of_a_benchmark_goes_into_one_flat_zip(benchmark: str, count: int, tmp_path: Path) -> None:
    cards = all_cards()
    wanted = {
        one.file: (card, one)
        for card in cards.values()
        for one in card.submissions
        if benchmark in one.benchmarks
    }
    assert len(wanted) == count
    for name, (card, one) in wanted.items():
        (tmp_path / name).write_bytes(answers_to_sample(card, one))
    report = check_paths([tmp_path], cards, data="sample", benchmark=benchmark)
    assert report.all_problems == [] and report.missing == ()
    packed = pack(report, tmp_path / "submit-sample.zip")
    assert set(packed.files) == {*wanted, "NOT-FOR-UPLOAD.txt"}
    with zipfile.ZipFile(packed.path) as archive:
        assert not any("/" in name for name in archive.namelist())
    again = check_paths([packed.path], cards, data="sample", benchmark=benchmark)
    assert again.all_problems == [] and len(again.files) == len(wanted)


# ---------------------------------------------------------------------------- reading answers back


def test_an_object_is_read_and_gathered_by_tag() -> None:
    raw = json.dumps(GOOD, indent=1).encode()
    answers = read_predictions(raw, "chid11_predict.json", Form())
    assert [(one.id, one.value, one.line) for one in answers][0] == ("#idiom000002#", 2, 2)
    aligned = align(answers, CHID, "chid11_predict.json")
    assert [one.value for one in aligned.answers] == [
        {"#idiom000002#": 2, "#idiom000001#": 0},
        {"#idiom000003#": 1},
    ]
    with pytest.raises(DataError, match=r"no answer for #idiom000003#"):
        align(answers[:2], CHID, "chid11_predict.json")


def test_a_tag_that_is_answered_twice_is_refused() -> None:
    lines = [{"id": tag, "label": index} for tag, index in (*GOOD.items(), ("#idiom000001#", 1))]
    raw = "".join(json.dumps(line) + "\n" for line in lines).encode()
    answers = read_predictions(raw, "p.jsonl", Form())
    with pytest.raises(DataError, match="p.jsonl:4: duplicate tag #idiom000001#, first on line 2"):
        align(answers, CHID, "p.jsonl")
    strange = read_predictions(b'{"id": "?", "label": 0}\n' + raw, "p.jsonl", Form())
    with pytest.raises(DataError, match=r"p.jsonl:1: the tag \? occurs in no record of test1.1.json"):
        align(strange, CHID, "p.jsonl")


def test_lines_of_a_run_are_gathered_by_record() -> None:
    lines = [{"id": 0, "prediction": {"#idiom000002#": 1}}, {"id": 1, "prediction": {"#idiom000003#": 1}}]
    raw = "".join(json.dumps(line) + "\n" for line in lines).encode()
    aligned = align(read_predictions(raw, "dev.jsonl", Form()), CHID, "dev.jsonl")
    assert aligned.by == "id" and aligned.answers[1].value == {"#idiom000003#": 1}


def test_an_object_of_answers_to_questions_is_matched_by_id() -> None:
    raw = json.dumps({"TEST_1": "乙", "TEST_0": "甲", "TEST_2": "丙"}, ensure_ascii=False).encode()
    aligned = align(read_predictions(raw, "r.json", Form()), READING, "r.json")
    assert [one.value for one in aligned.answers] == ["甲", "乙", "丙"]
    with pytest.raises(DataError, match=r"no answer for id TEST_2"):
        align(read_predictions(b'{"TEST_1": "a", "TEST_0": "b"}', "r.json", Form()), READING, "r.json")
