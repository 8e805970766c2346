"""Sources: folders, zips with inner folders, old spellings, the cache, the sample."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from clue_runner.data.at_hand import data_folder
from clue_runner.data.cards import Card, find_card
from clue_runner.data.locate import locate, open_source
from clue_runner.data.readers.text import read_text_records
from clue_runner.data.sources import split_file
from clue_runner.errors import DataError

MakeCard = Callable[..., Card]
DOWNLOAD = {"file": "pairs_public.zip", "urls": ["http://127.0.0.1:9/pairs_public.zip"]}


@pytest.mark.parametrize("inner", ["", "pairs_public/", "a/b/", "pairs_public\\"])
def test_zip_members_are_found_by_base_name(
    inner: str, make_card: MakeCard, archive: Callable[..., Path], good: dict[str, bytes]
) -> None:
    names = ("__MACOSX/._train.json", "__MACOSX/train.json", "old~/train.json", "Thumbs.db", "#dev.json#")
    litter = dict.fromkeys((*names, f"{inner}.DS_Store", f"{inner}desktop.ini", f"{inner}train.json~"), b"x")
    source = open_source(archive({inner + name: raw for name, raw in good.items()} | litter), make_card())
    assert source.names() == ["dev.json", "test.json", "train.json"]
    assert source.read("train.json") == good["train.json"]


def test_litter_in_a_folder_is_not_listed(
    make_card: MakeCard, folder: Callable[..., Path], good: dict[str, bytes]
) -> None:
    litter = ("._train.json", ".DS_Store", "Thumbs.db", "desktop.ini", "train.json~", ".dev.json.swp", "#x#")
    path = folder(good | dict.fromkeys(litter, b"x"))
    (path.parent / "files~").mkdir()  # beside it, so that the parent still has one inner folder
    (path.parent / "files~" / "train.json").write_bytes(b"x")
    assert open_source(path, make_card()).names() == ["dev.json", "test.json", "train.json"]
    assert open_source(path.parent, make_card()).read("train.json") == good["train.json"]


def test_the_same_name_in_two_inner_folders_is_not_guessed(
    make_card: MakeCard, archive: Callable[..., Path]
) -> None:
    source = open_source(archive({"a/train.json": b"1", "b/train.json": b"2"}), make_card())
    with pytest.raises(DataError, match=r"several folders, got a/train\.json, b/train\.json"):
        source.read("train.json")


def test_wrong_members_say_what_was_found_and_what_is_expected(
    make_card: MakeCard, archive: Callable[..., Path], folder: Callable[..., Path]
) -> None:
    for path in (
        archive({"d-train.json": b"[]", "README.txt": b""}),
        folder({"d-train.json": b"", "README.txt": b""}),
    ):
        with pytest.raises(DataError) as caught:
            open_source(path, make_card())
        assert caught.value.exit_code == 3
        assert "got README.txt, d-train.json (allowed: train.json, dev.json, test.json)" in str(caught.value)


def test_old_spellings_are_found(
    make_card: MakeCard, folder: Callable[..., Path], good: dict[str, bytes]
) -> None:
    card = make_card()
    files = {"old_train.json": good["train.json"], "dev.json": good["dev.json"]}
    source = open_source(folder(files), card)
    assert split_file(source, card.splits["train"]) == "old_train.json"
    assert len(read_text_records(card, source, "train")) == 2


def test_a_folder_may_hold_the_zip_or_one_inner_folder(
    make_card: MakeCard, archive: Callable[..., Path], folder: Callable[..., Path], good: dict[str, bytes]
) -> None:
    card = make_card(download=DOWNLOAD)
    assert open_source(archive(good).parent, card).read("dev.json") == good["dev.json"]
    inner = folder(good)
    assert open_source(inner.parent, make_card()).read("dev.json") == good["dev.json"]


@pytest.mark.parametrize("path", ["nowhere", "nowhere/pairs.zip"])
def test_a_missing_path_is_a_data_error(path: str, make_card: MakeCard) -> None:
    with pytest.raises(DataError, match="no such file or folder") as caught:
        open_source(path, make_card())
    assert caught.value.exit_code == 3 and "'sample' for the records that ship" in str(caught.value)


def test_the_cache_comes_before_the_download(
    clue_home: Path, make_card: MakeCard, archive: Callable[..., Path], good: dict[str, bytes]
) -> None:
    card = make_card(download=DOWNLOAD)
    data_folder(card).mkdir(parents=True)
    archive(good).rename(data_folder(card) / "pairs_public.zip")
    assert locate(card, None, offline=True).read("test.json") == good["test.json"]
    assert str(clue_home) in locate(card, None, offline=True).label


def test_files_beside_a_users_own_card_are_its_data(
    clue_home: Path, make_card: MakeCard, folder: Callable[..., Path], good: dict[str, bytes]
) -> None:
    card = make_card(folder=folder(good))
    assert locate(card, None, offline=True).has("train.json")


def test_no_data_at_all_says_every_way(clue_home: Path, make_card: MakeCard) -> None:
    for card in (find_card("afqmc"), make_card()):
        with pytest.raises(DataError) as caught:
            locate(card, None, offline=True)
        text = str(caught.value)
        assert str(clue_home / "data" / card.name) in text
        assert "--data PATH" in text
        assert (f"clue data get {card.name}" in text) == (card.download is not None)
        assert ("--data sample" in text) == (card.sample is not None)


def test_the_sample_says_that_it_is_one() -> None:
    source = locate(find_card("afqmc"), "sample")
    assert source.is_sample and source.label == "sample" and source.archive is None
    assert not open_source(find_card("afqmc").folder / "sample", find_card("afqmc")).is_sample


def test_a_card_without_sample_says_so(make_card: MakeCard, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no sample records"):
        locate(make_card(folder=tmp_path), "sample")
