"""Cards: found by walking the folder, refused with file and line, and true to the published facts."""

from __future__ import annotations

from pathlib import Path

import pytest

from clue_runner.data.cards import Card, all_cards, find_card, load_card, recommended_settings
from clue_runner.errors import UsageError

CARDS = all_cards()
CLASSIFICATION = ["afqmc", "cluewsc2020", "cmnli", "csl", "iflytek", "ocnli", "tnews"]
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
    ],
)
def test_a_bad_card_is_refused_with_its_line(
    tmp_path: Path, old: str, new: str, line: int, said: str
) -> None:
    folder = write_card(tmp_path / "mine", MINIMAL.replace(old, new))
    with pytest.raises(UsageError) as caught:
        load_card(folder)
    assert f"task.yaml:{line}: {said}" in str(caught.value)


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
