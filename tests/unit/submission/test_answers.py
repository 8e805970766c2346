"""One reader of answers: what is refused for upload is never scored as if it were a text."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from clue_runner.data.cards import find_card
from clue_runner.data.layouts import read_records
from clue_runner.data.locate import locate
from clue_runner.data.records import ChoiceRecord, ClozeRecord, EntityRecord, Records
from clue_runner.errors import DataError
from clue_runner.submission.answers import answer_kind, check_values, read_answers, read_predictions
from clue_runner.submission.findings import Findings
from clue_runner.submission.forms import Answer, Form, upload_form
from clue_runner.submission.values import single_best_name, text_answer

N_BEST = [{"text": "甲", "probability": 0.9}, {"text": "乙", "probability": 0.1}]

# task -> answers that are none, whatever file they stand in
NO_ANSWERS: dict[str, tuple[object, ...]] = {
    "cmrc2018": (None, 3, 1.5, True, ["甲"], [], {"text": "甲"}, [["甲"]], N_BEST),
    "drcd": (None, 0, N_BEST),
    "sogouqa": (None, 7, ["甲"], N_BEST),
    "afqmc": (None, 0, 1.0, True, ["0"], {"0": 1}, "2", "-"),
    "c3": (None, 1.0, True, "甲", [0], {"a": {}}, -1, "99999999999999999999"),
    "chid": (None, 1.0, True, "甲", [0], -1),
    "cluener": (None, 3, "地名", ["地名"], {"address": "甲"}, {"address": {"甲": [0, 1]}}),
}


@pytest.mark.parametrize(("task", "value"), [(task, one) for task, all in NO_ANSWERS.items() for one in all])
def test_what_is_no_answer_is_refused_for_upload_and_for_scoring(task: str, value: object) -> None:
    card = find_card(task)
    submissions = card.submissions[:1] or [None]
    for submission in (None, submissions[0]):
        findings = Findings("p.json")
        check_values([Answer(3, "DEV_0", value)], card, None, findings, submission)
        (problem,) = findings.problems()
        assert problem.where == "p.json:3"


@pytest.mark.parametrize(
    ("task", "value"),
    [
        ("cmrc2018", "甲"),
        ("cmrc2018", ""),
        ("sogouqa", ""),
        ("afqmc", "1"),
        ("c3", 2),
        ("c3", "2"),
        ("chid", {"#idiom000001#": 3}),
        ("chid", 3),
        ("cluener", {}),
        ("cluener", {"address": {"甲乙": [[0, 1]]}}),
    ],
)
def test_what_is_an_answer_is_scored(task: str, value: object) -> None:
    findings = Findings("p.json")
    check_values([Answer(1, 0, value)], find_card(task), None, findings)
    assert not findings


def test_an_n_best_file_is_named_with_the_file_to_give_instead() -> None:
    findings = Findings("out/nbest_predictions.json")
    raw = json.dumps({"DEV_0": N_BEST, "DEV_1": N_BEST}, ensure_ascii=False, indent=1).encode()
    check_values(read_answers(raw, findings, Form()), find_card("cmrc2018"), None, findings)
    (problem,) = findings.problems()
    assert problem.where == "out/nbest_predictions.json:2"
    assert "n-best file (2 lines" in str(problem) and "give predictions.json" in str(problem)


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("a/eval_nbest_predictions.json", "eval_predictions.json"),
        ("dev_nbest.json", "dev.json"),
        ("nbest_predictions_.json", "predictions_.json"),
        ("all.json", "predictions.json"),
    ],
)
def test_the_file_of_best_answers_is_guessed_by_its_name(name: str, other: str) -> None:
    assert single_best_name(name) == other


@pytest.mark.parametrize("value", [None, 1, True, ["甲"], {"text": "甲"}])
def test_nothing_is_turned_into_a_text(value: object) -> None:
    with pytest.raises(DataError, match="the answer to 'DEV_0' is not a string"):
        text_answer(value, "DEV_0")


def test_an_adapter_scores_no_other_value_either() -> None:
    from clue_runner.adapters.base import Prediction, load_adapter

    for task, wrong in (("cmrc2018", ["甲"]), ("webqa", 3), ("afqmc", None)):
        card = find_card(task)
        adapter = load_adapter(card)
        records = adapter.read(locate(card, "sample"), "dev")
        predictions = [Prediction(record.id, wrong) for record in records.items]
        with pytest.raises(DataError, match="not (a )?texts?|not labels|not strings"):
            adapter.score(predictions, records)


Shaped = Callable[[list[tuple[Any, Any]]], bytes]


def as_lines(pairs: list[tuple[Any, Any]]) -> bytes:
    return "".join(json.dumps({"id": name, "label": value}) + "\n" for name, value in pairs).encode()


def as_object(pairs: list[tuple[Any, Any]]) -> bytes:
    return json.dumps({str(name): value for name, value in pairs}, indent=1).encode()


def as_one_line(pairs: list[tuple[Any, Any]]) -> bytes:
    return json.dumps({str(name): value for name, value in pairs}).encode()


@pytest.mark.parametrize("shaped", [as_lines, as_object, as_one_line])
def test_each_shape_is_read_alike(shaped: Shaped) -> None:
    answers = read_predictions(shaped([("a", "甲"), ("b", "乙")]), "p", Form())
    assert [(answer.id, answer.value) for answer in answers] == [("a", "甲"), ("b", "乙")]


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (b'[{"id": 1, "label": "a"}]', "one JSON list of 1 items"),
        (b'[\n {"id": 1, "label": "a"}\n]\n', "one JSON list of 1 items"),
        (b'{\n "id": 1,\n "label": "a"\n}\n', "one record is spread over several lines"),
        (b'{\n"a": "x",\n"a": "y",\n"b": "z",\n"b": "z"\n}', "p:3: an id has two answers (2 lines"),
        (b'{"a": {"x": 1, "x": 2}}', "duplicate key in one answer"),
        (b'{"a": "NaN",\n"b": NaN}', "p:2: NaN or Infinity is not JSON"),
        (b'{"a": "x",\n"b": 1e999}', "p:2: NaN or Infinity is not JSON, got 1e999"),
        (b'{"id": 1, "label": 1e999}\n{"id": 2, "label": 0}\n', "p:1: NaN or Infinity"),
        (b'{"a": "x"', "the file is cut off in the middle"),
        (b'{"id": 1, "label": "a"}\n{"id": 2, "lab', "p:2: the line is not JSON"),
        (b'{"id": ' + b"1" * 5000 + b', "label": "a"}\n' * 2, "a number of more than 1,000 digits"),
        (b'{"a": ' + b"1" * 5000 + b"}", "a number of more than 1,000 digits"),
        (b'{"a": ' + b"[" * 500 + b"]" * 500 + b"}", "nested too deeply"),
        (b'{"a": ' + b"[" * 100_000, "nested too deeply"),
        (b'{"id": 1, "label": "\\ud800"}\n{"id": 2, "label": "\\ud83d\\ude00"}\n', "half a character"),
        (
            b'{"id": true, "label": "a"}\n{"id": 2, "label": "a"}\n',
            "the id is neither an integer nor a string, got true",
        ),
        (b'{"id": 1, "label": "a", "probability": true}\n', "the probability is not a number, got true"),
        (b'{"id": 1, "label": "a", "probability": 1e999}\n' * 2, "NaN or Infinity"),
        (b'{"id": 1, "label": "a", "probability": ' + b"9" * 400 + b"}", "the probability is not a number"),
        (b'{"a": [NaN], "b": ' + b"[" * 5000, "NaN or Infinity is not JSON"),
        (b'{"a": {"x": 1, "x": 1}, "b": ' + b"[" * 5000, "duplicate key in one answer"),
        (b'{"a": ' + b"9" * 400 + b',\n"b": NaN}', "p:2: NaN or Infinity is not JSON"),
        (b"index\tlabel\n7\t100\n", "a table row, not JSON"),
    ],
)
def test_files_that_hold_no_answers(raw: bytes, says: str) -> None:
    with pytest.raises(DataError) as caught:
        read_predictions(raw, "p", Form())
    assert says in str(caught.value), str(caught.value)


def test_what_publishers_write_is_no_fault_when_scored() -> None:
    raw = b'\xef\xbb\xbf{"label": "1", "label_desc": "x"}\r\n\r\n{"label": "0"}\r\n'
    assert [(one.line, one.id, one.value) for one in read_predictions(raw, "p", Form())] == [
        (1, None, "1"),
        (3, None, "0"),
    ]
    findings = Findings("p")
    read_answers(raw, findings, upload_form(find_card("afqmc").submissions[0]))
    said = [problem.what for problem in findings.problems()]
    assert any("byte order mark" in what for what in said) and any("CR LF" in what for what in said)
    assert any("blank line" in what for what in said) and any("has no id" in what for what in said)


def test_every_kind_of_task_is_known() -> None:
    kinds = {
        "afqmc": "label", "cluener": "entities", "c3": "index", "chid": "index", "drcd": "text",
        "cmrc2018": "text", "webqa": "text", "sogouqa": "text", "diagnostics": "label",
    }  # fmt: skip
    assert {name: answer_kind(find_card(name)) for name in kinds} == kinds


def test_answers_are_judged_with_their_records() -> None:
    choice = Records("dev", [ChoiceRecord("1-1", ("文",), "问", ("甲", "乙"), 0, 0)], "dev.json", "", 1)
    cloze = Records(
        "dev", [ClozeRecord(0, ("他#idiom1#",), ("#idiom1#",), ("甲", "乙"), (0,), 1)], "d", "", 1
    )
    text = Records("dev", [EntityRecord(0, "北京", (), 1)], "dev.json", "", 1)
    cases: list[tuple[str, Records[Any], Any, Any, str]] = [
        ("c3", choice, "1-1", 2, "the index is not a choice, got 2 (allowed: 0 to 1)"),
        ("c3", choice, "1-1", "乙", "write 1"),
        ("chid", cloze, 0, {"#idiom1#": 2}, "the index is not a choice"),
        ("cluener", text, 0, {"address": {"南京": [[0, 1]]}}, "a span does not match its surface"),
    ]
    for task, records, name, value, says in cases:
        findings = Findings("p")
        check_values([Answer(1, name, value)], find_card(task), records, findings)
        assert any(says in str(problem) for problem in findings.problems()), task


def test_the_samples_own_gold_is_always_an_answer() -> None:
    for task in ("cmrc2018", "webqa", "afqmc", "c3", "cluewsc2020"):
        card = find_card(task)
        records = read_records(card, locate(card, "sample"), "dev")
        gold = [getattr(record, "label", getattr(record, "answer", None)) for record in records.items]
        texts = ["答案" if value is None else value for value in gold]
        answers = [Answer(1, record.id, value) for record, value in zip(records.items, texts, strict=True)]
        findings = Findings("p")
        check_values(answers, card, records, findings)
        assert not findings, task


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (gzip.compress(b'{"id": 0, "label": "0"}\n', mtime=0), "a gzip file; fix: unpack it: gunzip"),
        (b"PK\x03\x04" + b"\x00" * 30, "a zip; fix: unpack it"),
        (b"PK\x03\x04" + b"\x00" * 26 + b"[Content_Types].xml", "a spreadsheet or office file"),
        (b"\n<!DOCTYPE html><html>404</html>\n", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a git-lfs pointer"),
        (b"\x80\x04\x95\x00", "a pickle, which is never opened"),
        (b"\x93NUMPY\x01\x00", "a NumPy array"),
    ],
)
@pytest.mark.parametrize("shape", [None, "lines", "object", "table"])
def test_a_file_that_is_no_text_is_named_as_what_it_is(raw: bytes, says: str, shape: Any) -> None:
    findings = Findings("p")
    allowed = f" (allowed: {Form().line})" if shape in {None, "lines"} else ""
    assert read_answers(raw, findings, Form(shape=shape)) == []
    (problem,) = findings.problems()
    said = str(problem).replace(allowed, "") if allowed else re.sub(r" \(allowed: .*\)", "", str(problem))
    assert said.startswith("p: the file is ") and says in said
