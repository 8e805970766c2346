"""The check: what is wrong stops it, what is odd is counted and said."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from clue_runner.data.cards import Card
from clue_runner.data.check import Report, check_source
from clue_runner.data.locate import open_source
from clue_runner.data.readers.text import read_text_records
from clue_runner.data.statistics import percentile, split_statistics

MakeCard = Callable[..., Card]
Check = Callable[..., Report]


@pytest.fixture
def check(
    make_card: MakeCard, folder: Callable[[Mapping[str, bytes]], Path], good: dict[str, bytes]
) -> Check:
    """Check the good files with some replaced; None takes one away."""

    def call(changes: Mapping[str, str | None] | None = None, **card: object) -> Report:
        files = dict(good)
        for name, text in (changes or {}).items():
            files.pop(name, None)
            if text is not None:
                files[name] = text.encode()
        made = make_card(**card)
        return check_source(made, open_source(folder(files), made))

    return call


def test_good_data_has_no_findings(check: Check) -> None:
    report = check()
    assert report.ok and report.complete and not report.warnings
    assert report.counts["train"] == {"records": 3, "usable": 2, "label '-'": 1}
    assert set(report.sha256) == {"train", "dev", "test"} and len(report.sha256["dev"]) == 64


def test_a_missing_test_file_is_a_warning_and_a_missing_dev_file_a_problem(check: Check) -> None:
    without_test = check({"test.json": None})
    assert without_test.ok and without_test.complete
    assert without_test.warnings == ["test.json is missing: training works, test cannot be predicted"]


def test_a_missing_dev_file_is_a_problem(check: Check) -> None:
    report = check({"dev.json": None})
    assert not report.ok and not report.complete and "the dev split is missing" in str(report.problems[0])


def test_other_counts_in_train_make_the_data_incomplete(check: Check, line: Callable[..., str]) -> None:
    report = check({"train.json": line(label="0") + "\n" + line("丙", label="1")})
    assert report.ok and not report.complete
    (warning,) = report.warnings
    assert Path(warning.partition(" has ")[0]).is_file() and warning.endswith(
        "/train.json has 2 records, the official file has 3"
    )


def test_other_counts_in_test_are_said_but_training_data_is_complete(
    check: Check, line: Callable[..., str]
) -> None:
    report = check({"test.json": line("庚", id=0)})
    assert report.ok and report.complete
    (warning,) = report.warnings
    assert Path(warning.partition(" has ")[0]).is_file() and warning.endswith(
        "/test.json has 1 records, the official file has 2"
    )


def test_bad_lines_of_all_splits_are_problems(check: Check) -> None:
    report = check({"train.json": "{", "test.json": "[]"})
    assert not report.ok and not report.complete
    assert [problem.where for problem in report.problems] == [
        f"{report.source}/train.json:1",
        f"{report.source}/test.json:1",
    ]
    assert report.as_dict()["ok"] is False


def test_repeats_conflicts_overlap_and_equal_pairs(check: Check, line: Callable[..., str]) -> None:
    train = [
        line("一", label="0"),
        line("一", label="1"),
        line("二", label="0"),
        line("二", label="0"),
        line("乙", label="1"),
    ]
    report = check(
        {"train.json": "\n".join(train), "dev.json": line("一", label="0") + "\n" + line("新", "", label="1")}
    )
    assert report.ok
    assert report.counts["train"]["repeated"] == 2
    assert report.counts["train"]["repeated_with_other_labels"] == 1
    assert report.counts["train"]["identical_pairs"] == 1
    assert report.counts["dev"]["also_in_train"] == 1 and report.counts["dev"]["empty_texts"] == 1
    assert "dev: 1 records are also in train" in report.warnings


def test_hidden_characters_are_named_by_code_point(check: Check, line: Callable[..., str]) -> None:
    train = [
        line("一\u200b二\u200b", label="0"),
        line("三\u2028\x08", label="1"),
        line("四\u3000\t\n", label="0"),
    ]
    (warning,) = check({"train.json": "\n".join(train)}).warnings
    assert warning == "train: invisible characters: U+200B x2, U+2028 x1, U+0008 x1"


def test_labels_that_never_occur_are_said(check: Check, line: Callable[..., str]) -> None:
    dev = "\n".join([line(label="1"), line("丙", label="1")])
    assert "dev: 1 of 2 labels never occur: 0" in check({"dev.json": dev}).warnings


@pytest.mark.parametrize(
    ("listed", "warned"),
    [('{"label": "0"}\n{"label": "1"}', False), ('{"label": "0"}\n{"label": "2"}', True), ("{", True)],
)
def test_the_zips_own_label_list_is_compared(listed: str, warned: bool, check: Check) -> None:
    report = check({"labels.json": listed}, labels_file="labels.json")
    assert any("labels.json differs from the card" in warning for warning in report.warnings) == warned


def test_statistics(make_card: MakeCard, folder: Callable[..., Path], line: Callable[..., str]) -> None:
    rows = [line("一" * size, "二", label="1" if size % 3 == 0 else "0") for size in range(1, 10)] + [
        line(label="-")
    ]
    card = make_card()
    records = read_text_records(
        card, open_source(folder({"train.json": "\n".join(rows).encode()}), card), "train"
    )
    figures = split_statistics(records)
    assert (figures.records, figures.usable, figures.skipped) == (10, 9, {"label '-'": 1})
    assert figures.lengths.as_tuple() == (6, 10, 10)
    assert dict(figures.labels) == {"0": 6, "1": 3} and figures.majority_label == "0"
    assert figures.chance == pytest.approx(66.667, abs=0.001)


@pytest.mark.parametrize(("percent", "value"), [(0, 1), (50, 5), (51, 6), (95, 10), (100, 10)])
def test_percentiles_are_values_of_the_list(percent: int, value: int) -> None:
    assert percentile(range(1, 11), percent) == value
