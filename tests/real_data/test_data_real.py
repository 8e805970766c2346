"""The official zips: every count, id, mark and oddity that was measured on them by other means."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clue_runner.data.cards import find_card
from clue_runner.data.check import check_source
from clue_runner.data.locate import locate, open_source
from clue_runner.data.readers.json_lines import read_json_lines
from clue_runner.data.readers.text import read_text_records
from clue_runner.data.records import Records, TextRecord
from clue_runner.data.sources import DataSource
from clue_runner.data.statistics import split_statistics

pytestmark = pytest.mark.real_data

# (task, split, records, left out, characters: median, 95 %, longest)
COUNTS = [
    ("afqmc", "train", 34_334, 0, (25, 46, 157)),
    ("afqmc", "dev", 4_316, 0, None),
    ("afqmc", "test", 3_861, 0, None),
    ("tnews", "train", 53_360, 0, (22, 32, 145)),
    ("tnews", "dev", 10_000, 0, None),
    ("iflytek", "train", 4_529, 0, None),
    ("iflytek", "dev", 2_599, 0, (249, 592, 1_755)),
    ("iflytek", "test", 2_600, 0, None),
    ("ocnli", "train", 50_486, 49, (33, 60, 107)),
    ("ocnli", "dev", 3_000, 50, None),
    ("ocnli", "test", 3_000, 0, None),
    ("cluewsc2020", "train", 1_244, 0, None),
    ("cluewsc2020", "dev", 304, 0, None),
    ("cluewsc2020", "test1.1", 2_574, 0, None),
    ("cluewsc2020", "test1.0", 290, 0, None),
    ("csl", "train", 159, 0, None),
    ("csl", "dev", 3_000, 0, None),
    ("csl", "test", 3_000, 0, None),
]


@pytest.fixture
def source(real_data: Path) -> Callable[[str], DataSource]:
    """Open the official zip of a task."""
    return lambda task: open_source(real_data / "official" / f"{task}_public.zip", find_card(task))


def read(task: str, source: Callable[[str], DataSource], split: str) -> Records[TextRecord]:
    return read_text_records(find_card(task), source(task), split)


@pytest.mark.parametrize(("task", "split", "total", "left_out", "lengths"), COUNTS)
def test_counts_and_lengths(
    task: str, split: str, total: int, left_out: int, lengths: Any, source: Callable[[str], DataSource]
) -> None:
    records = read(task, source, split)
    assert (records.total, records.total - len(records)) == (total, left_out)
    partial = (task, split) in {("iflytek", "train"), ("csl", "train")}
    assert records.complete != partial and bool(records.warnings) == partial
    if lengths:
        assert split_statistics(records).lengths.as_tuple() == lengths


@pytest.mark.parametrize(
    ("task", "split", "labels"),
    [
        ("afqmc", "train", {"0": 23_761, "1": 10_573}),
        ("afqmc", "dev", {"0": 2_978, "1": 1_338}),
        ("ocnli", "train", {"neutral": 17_182, "entailment": 16_779, "contradiction": 16_476}),
        ("ocnli", "dev", {"neutral": 1_103, "entailment": 947, "contradiction": 900}),
        ("cluewsc2020", "train", {"false": 727, "true": 517}),
        ("cluewsc2020", "dev", {"false": 193, "true": 111}),
        ("csl", "dev", {"0": 1_500, "1": 1_500}),
    ],
)
def test_label_balance(
    task: str, split: str, labels: dict[str, int], source: Callable[[str], DataSource]
) -> None:
    assert split_statistics(read(task, source, split)).labels == labels


def test_afqmc_chance_is_69(source: Callable[[str], DataSource]) -> None:
    assert split_statistics(read("afqmc", source, "dev")).chance == pytest.approx(69.0, abs=0.01)


def test_tnews_and_iflytek_labels(source: Callable[[str], DataSource]) -> None:
    tnews = split_statistics(read("tnews", source, "train")).labels
    assert (len(tnews), tnews["109"], tnews["114"]) == (15, 5_955, 257)
    iflytek = split_statistics(read("iflytek", source, "dev")).labels
    assert (iflytek["70"], iflytek["17"]) == (388, 192)


def test_a_line_separator_inside_a_record_does_not_end_it(source: Callable[[str], DataSource]) -> None:
    raw = source("iflytek").read("dev.json")
    assert len(raw.decode("utf-8").splitlines()) == 2_627
    assert len(read_json_lines(raw, "dev.json")) == 2_599
    records = read("iflytek", source, "dev").items
    assert sum(record.texts[0].count("\u2028") for record in records) == 28


def test_windows_line_ends_give_the_same_records(source: Callable[[str], DataSource], tmp_path: Path) -> None:
    (tmp_path / "dev.json").write_bytes(source("afqmc").read("dev.json").replace(b"\n", b"\r\n"))
    card = find_card("afqmc")
    assert (
        read_text_records(card, open_source(tmp_path, card), "dev").items
        == read("afqmc", source, "dev").items
    )


def test_ids_are_the_files_own(source: Callable[[str], DataSource]) -> None:
    csl = [record.id for record in read("csl", source, "test").items]
    assert csl[0] == 2_415 and sorted(csl, key=int) == list(range(1, 3_001))
    assert [record.id for record in read("cluewsc2020", source, "test1.0").items] == list(range(1, 291))
    assert [record.id for record in read("cluewsc2020", source, "test1.1").items] == list(range(2_574))
    for task, count in (("afqmc", 3_861), ("iflytek", 2_600), ("ocnli", 3_000)):
        assert [record.id for record in read(task, source, "test").items] == list(range(count))


def test_wsc_marks_stand_around_both_spans_whichever_comes_first(source: Callable[[str], DataSource]) -> None:
    before = 0
    for split, file in (
        ("train", "train.json"),
        ("dev", "dev.json"),
        ("test1.1", "test.json"),
        ("test1.0", "test1.0.json"),
    ):
        rows = read_json_lines(source("cluewsc2020").read(file), file)
        for (_, row), record in zip(rows, read("cluewsc2020", source, split).items, strict=True):
            (text,), target = record.texts, row["target"]
            noun, pronoun = f"_{target['span1_text']}_", f"[{target['span2_text']}]"
            assert noun in text and pronoun in text and len(text) == len(row["text"]) + 4
            first = target["span2_index"] < target["span1_index"]
            place = target["span2_index"] + (0 if first else 2)
            assert text[place : place + len(pronoun)] == pronoun
            assert (
                text.replace(noun, noun[1:-1], 1).replace(pronoun, pronoun[1:-1], 1) == row["text"]
                or "_" in row["text"]
            )
            before += first
    assert before == 464


def test_csl_joins_two_to_four_keywords(source: Callable[[str], DataSource]) -> None:
    records = read("csl", source, "dev").items
    assert records[0].texts[0] == "水声学；FFT；波束形成；3维成像声呐"
    assert {record.texts[0].count("；") for record in records} >= {1, 2, 3}


@pytest.mark.parametrize("task", ["afqmc", "tnews", "iflytek", "ocnli", "cluewsc2020", "csl"])
def test_the_check_finds_what_was_measured(task: str, source: Callable[[str], DataSource]) -> None:
    report = check_source(find_card(task), source(task))
    assert report.ok and report.complete == (task not in {"iflytek", "csl"})
    unknown_hash = any("the hash of" in warning for warning in report.warnings)
    assert unknown_hash == (task not in {"ocnli", "cluewsc2020"})
    counts = report.counts
    if task == "tnews":
        assert counts["train"]["repeated_with_other_labels"] == 547
        assert counts["dev"]["repeated_with_other_labels"] == 28
        assert [split for split in ("test1.1", "test1.0") if split in counts] == []
        assert sum("is missing: training works" in warning for warning in report.warnings) == 2
        assert "train: invisible characters: U+200B x16, U+FEFF x1" in report.warnings
    if task == "cluewsc2020":
        assert (counts["train"]["repeated"], counts["test1.1"]["repeated"]) == (5, 6)
    if task == "iflytek":
        assert counts["dev"]["repeated_with_other_labels"] == 29
    if task == "ocnli":
        assert counts["train"]["identical_pairs"] == 11
    if task == "afqmc":
        assert counts["train"]["identical_pairs"] == 2


def test_the_command_on_the_official_files(clue: Callable[..., Any], real_data: Path) -> None:
    good = clue("data", "check", "ocnli", "--from", real_data / "official" / "ocnli_public.zip", "--json")
    assert good.exit_code == 0
    result = json.loads(good.stdout.strip().split("\n")[-1])
    assert result["data_complete"] and result["counts"]["dev"]["label '-'"] == 50
    assert clue("data", "check", "tnews", "--from", real_data / "official").exit_code == 0
    other = clue("data", "check", "afqmc", "--from", real_data / "official" / "csl_public.zip")
    assert other.exit_code == 3 and "these are not records of afqmc" in other.stderr
    wrong = clue("data", "check", "afqmc", "--from", real_data / "official" / "c3_public.zip")
    assert wrong.exit_code == 3 and "d-train.json" in wrong.stderr


def test_no_sample_text_comes_from_the_official_data(source: Callable[[str], DataSource]) -> None:
    for task in ("afqmc", "tnews", "iflytek", "ocnli", "cluewsc2020", "csl"):
        card = find_card(task)
        official = {
            text
            for split in ("train", "dev")
            for record in read(task, source, split).items
            for text in record.texts
        }
        sample = locate(card, "sample")
        ours = {
            text
            for split in ("train", "dev")
            for record in read_text_records(card, sample, split).items
            for text in record.texts
        }
        assert not official & ours
