"""Cards: found by walking the folder, refused with file and line, and true to the published facts."""

from __future__ import annotations

from pathlib import Path

import pytest

from clue_runner.data.cards import Card, all_cards, find_card, load_card, recommended_settings
from clue_runner.errors import UsageError

CARDS = all_cards()
CLASSIFICATION = ["afqmc", "cluewsc2020", "cmnli", "csl", "iflytek", "ocnli", "tnews"]
LEAST = """\
name: mine
adapter: classification
fields: {sentence: string}
labels: [{name: "a"}, {name: "b"}]
splits: {train: {file: train.json}, dev: {file: dev.json}}
"""
MINIMAL = """\
name: mine
title: {zh: 我的, en: mine}
version: "1"
adapter: classification
metric: accuracy
fields: {sentence: string}
labels: [{name: "a"}, {name: "b"}]
template: {parts: ["{sentence}"]}
splits:
  train: {file: train.json}
  dev: {file: dev.json}
max_length: 64
licence: none
paper: none
"""


def write_card(folder: Path, text: str) -> Path:
    folder.mkdir()
    (folder / "task.yaml").write_text(text, encoding="utf-8")
    return folder


def test_the_seven_classification_tasks_are_there() -> None:
    assert set(CLASSIFICATION) <= set(CARDS)


@pytest.mark.parametrize("name", sorted(CARDS))
def test_a_shipped_card_is_complete(name: str) -> None:
    card = CARDS[name]
    assert card.name == name == card.folder.name
    assert card.title.zh and card.title.en and card.licence and card.paper
    assert card.sample is not None and (card.folder / "sample").is_dir()
    assert recommended_settings(card)["data"]["max_length"] == card.max_length
    if card.recommended:
        assert card.recommended_source
    assert {submission.split for submission in card.submissions} <= set(card.test_splits)
    for score in card.published:
        assert score.split in card.splits and 0 < score.score < 100 and score.source


def test_label_lists_are_the_official_ones() -> None:
    tnews = [str(code) for code in range(100, 117) if code not in (105, 111)]
    assert list(CARDS["tnews"].label_names) == tnews
    assert CARDS["tnews"].labels[2].description == "娱乐 news_entertainment"
    assert list(CARDS["iflytek"].label_names) == [str(code) for code in range(119)]
    assert CARDS["iflytek"].labels[118].description == "其他"
    assert CARDS["ocnli"].skip_labels == CARDS["cmnli"].skip_labels == ["-"]
    assert set(CARDS["cluewsc2020"].label_names) == {"true", "false"}


def test_submission_names_are_the_official_ones() -> None:
    names = {name: [one.file for one in CARDS[name].submissions] for name in CLASSIFICATION}
    assert names == {
        "afqmc": ["afqmc_predict.json"],
        "cluewsc2020": ["cluewsc11_predict.json", "cluewsc10_predict.json"],
        "cmnli": ["cmnli_predict.json"],
        "csl": ["csl_predict.json"],
        "iflytek": ["iflytek_predict.json"],
        "ocnli": ["ocnli_50k_predict.json"],
        "tnews": ["tnews11_predict.json", "tnews10_predict.json"],
    }


def test_an_unknown_task_is_a_usage_error_with_a_guess() -> None:
    with pytest.raises(UsageError, match="did you mean afqmc") as caught:
        find_card("afqmcc")
    assert caught.value.exit_code == 2 and "clue tasks" in str(caught.value)


def test_a_users_own_folder_is_a_task(tmp_path: Path) -> None:
    card = find_card(str(write_card(tmp_path / "mine", MINIMAL)))
    assert (card.name, card.label_names, card.test_splits) == ("mine", ("a", "b"), ())


def test_a_users_own_card_needs_five_keys(tmp_path: Path) -> None:
    card = load_card(write_card(tmp_path / "mine", LEAST))
    assert (card.metric, card.layout, card.max_length, card.id_field) == ("accuracy", "lines", 128, "id")
    assert (
        card.template and card.template.parts == ["{sentence}"] and card.title.zh == card.title.en == "mine"
    )
    two = LEAST.replace("{sentence: string}", "{words: strings, text: string}")
    template = load_card(write_card(tmp_path / "two", two)).template
    assert template and template.parts == ["{words|join(;)}", "{text}"]


@pytest.mark.parametrize(
    ("adapter", "labels", "expected"),
    [
        ("entities", True, ("cluener", "strict_micro_f1", 128)),
        ("reading", False, ("squad", "exact_match", 512)),
        ("choice", False, ("c3", "accuracy", 512)),
        ("cloze", False, ("chid", "accuracy", 64)),
        ("dgcnn_reading", False, ("passages", "exact", 2048)),
    ],
)
def test_every_kind_has_defaults(
    adapter: str, labels: bool, expected: tuple[str, str, int], tmp_path: Path
) -> None:
    text = LEAST.replace("classification", adapter).replace("fields: {sentence: string}\n", "")
    text = text if labels else text.replace('labels: [{name: "a"}, {name: "b"}]\n', "")
    card = load_card(write_card(tmp_path / "mine", text))
    assert (card.layout, card.metric, card.max_length) == expected
    assert recommended_settings(card).get("model", {}).get("name") == (
        "dgcnn" if adapter == "dgcnn_reading" else None
    )


def test_a_card_that_was_edited_is_read_again(tmp_path: Path) -> None:
    folder = write_card(tmp_path / "mine", MINIMAL)
    assert load_card(folder).max_length == 64
    (folder / "task.yaml").write_text(MINIMAL.replace("64", "128"), encoding="utf-8")
    assert load_card(folder).max_length == 128


def test_a_message_names_the_card_as_it_was_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_card(tmp_path / "mine", MINIMAL.replace("metric", "metrik"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError) as caught:
        find_card("./mine")
    assert str(caught.value).startswith(
        "mine/task.yaml: the task card is invalid\n  mine/task.yaml:5: metrik"
    )


@pytest.mark.parametrize("missing", ["nowhere/mine", "."])
def test_a_folder_without_a_card_is_said(
    missing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=r"task\.yaml"):
        find_card(missing)


@pytest.mark.parametrize(
    ("old", "new", "line", "said"),
    [
        ('version: "1"', "version: 1", 3, "version"),
        ("metric:", "metrik:", 5, "metrik"),
        ('{name: "b"}', "{name: 1}", 7, "labels.1.name"),
        ("file: dev.json", "file: ../dev.json", 11, "splits.dev.file"),
        ("max_length: 64", "max_length: 1e3", 12, "max_length"),
        ("adapter: classification", "adapter: clasification", 4, "adapter: no such kind of task, did you"),
        ("adapter: classification", "adapter: ../adapters/base", 4, "adapter: no such kind of task"),
        ("adapter: classification", "adapter: base", 4, "adapter: no such kind of task"),
        (
            "metric: accuracy",
            "metric: acuracy",
            5,
            "metric: no score called 'acuracy', did you mean accuracy?",
        ),
        (
            "metric: accuracy",
            "metric: accuracy\nlayout: squad",
            6,
            "layout: classification does not read squad",
        ),
        ("{sentence: string}", "{}", 6, "fields: classification needs the fields"),
        (', {name: "b"}', "", 7, "labels: 1 labels, classification needs 2 or more"),
        ('{name: "b"}', '{name: "a"}', 7, "labels.1: label 'a' is listed twice"),
        ('{name: "b"}', '{name: ""}', 7, "labels.1.name"),
        (
            '["{sentence}"]',
            '["{sentence}", "x", "y"]',
            8,
            "template.parts: 3 texts, classification takes 1 or 2",
        ),
        ("  dev: {file: dev.json}\n", "", 9, "splits: train needs dev"),
        (
            "train.json}",
            "train.json, labelled: false}",
            10,
            "splits.train.labelled: the train split needs labels",
        ),
        ("  dev:", "  ../../dev:", 11, "splits.../../dev"),
        ("  dev:", "  Train: {file: a.json}\n  dev:", 11, "splits.Train: another split's name differs only"),
        ("file: dev.json", "file: nul.json", 11, "splits.dev.file: the name is reserved"),
        ("file: dev.json", "file: dev.json~", 11, "splits.dev.file: the name is that of a hidden file"),
        ("file: dev.json", f"file: {'n' * 101}", 11, "splits.dev.file: a name has at most 100"),
        ("file: dev.json", "file: dev.json, answers: {file: /dev/zero}", 11, "splits.dev.answers.file"),
        (
            "licence: none",
            "recommended: {data: {max_lenght: 3}}",
            13,
            "data.max_lenght: no such setting, did you mean",
        ),
        (
            "licence: none",
            "recommended: {train: {epochs: none}}",
            13,
            "train.epochs has an invalid value",
        ),
        ("name: mine", "name: ../mine", 1, "name"),
        ("name: mine", "name: con", 1, "name: the name is reserved"),
        (
            "licence: none",
            "submissions: [{split: dev, file: ../a, benchmarks: [], source: a}]",
            13,
            "submissions.0.file: a name may not contain",
        ),
        (
            "licence: none",
            "submissions: [{split: tset, file: a, benchmarks: [], source: a}]",
            13,
            "submissions.0: names split 'tset'",
        ),
    ],
)
def test_a_bad_card_is_refused_with_its_line(
    tmp_path: Path, old: str, new: str, line: int, said: str
) -> None:
    folder = write_card(tmp_path / "mine", MINIMAL.replace(old, new))
    with pytest.raises(UsageError) as caught:
        load_card(folder)
    assert f"task.yaml:{line}: {said}" in str(caught.value)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("{sentence}", "{sentense}", "'sentense', which is not in fields"),
        ('{name: "b"}', '{name: "a"}', "'a' is listed twice"),
        ("max_length", "skip_labels: [a]\nmax_length", "in labels and in skip_labels"),
    ],
)
def test_a_card_that_contradicts_itself_is_refused(tmp_path: Path, old: str, new: str, said: str) -> None:
    folder = write_card(tmp_path / "mine", MINIMAL.replace(old, new))
    with pytest.raises(UsageError, match=said):
        load_card(folder)


def test_a_card_cannot_be_changed() -> None:
    card: Card = CARDS["afqmc"]
    with pytest.raises(ValueError, match="frozen"):
        card.metric = "f1"
