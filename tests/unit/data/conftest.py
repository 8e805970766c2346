"""A made-up pair task, and small ways to write its files and zips."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from clue_runner.data.cards import Card

Settings = dict[str, Any]


def card_settings(**changes: Any) -> Settings:
    """The made-up card as a mapping; ``changes`` replace top keys."""
    settings: Settings = {
        "name": "pairs",
        "title": {"zh": "句对", "en": "pairs"},
        "version": "1",
        "adapter": "classification",
        "metric": "accuracy",
        "fields": {"a": "string", "b": "string"},
        "id_field": "id",
        "labels": [{"name": "0"}, {"name": "1"}],
        "skip_labels": ["-"],
        "template": {"parts": ["{a}", "{b}"]},
        "splits": {
            "train": {"file": "train.json", "records": [3], "also": ["old_train.json"]},
            "dev": {"file": "dev.json", "records": [2, 1]},
            "test": {"file": "test.json", "records": [2], "labelled": False},
        },
        "max_length": 64,
        "licence": "none",
        "paper": "none",
    }
    return settings | changes


@pytest.fixture
def make_card() -> Callable[..., Card]:
    """Return the function that makes the card with changed keys."""
    return lambda **changes: Card.model_validate(card_settings(**changes))


def row(a: str = "甲", b: str = "乙", **more: Any) -> str:
    """One record as a JSON line."""
    return json.dumps({"a": a, "b": b, **more}, ensure_ascii=False)


GOOD: dict[str, bytes] = {
    "train.json": "\n".join([row(label="0"), row("丙", label="1"), row("丁", label="-")]).encode(),
    "dev.json": (row("戊", label="1") + "\n" + row("己", label="0") + "\n").encode(),
    "test.json": (row("庚", id=0) + "\n" + row("辛", id=1) + "\n").encode(),
}


def write_files(folder: Path, files: Mapping[str, bytes]) -> Path:
    """Write files into a new folder and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def write_zip(path: Path, files: Mapping[str, bytes]) -> Path:
    """Write a zip and return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


@pytest.fixture
def line() -> Callable[..., str]:
    """Return the function that writes one record as a JSON line."""
    return row


@pytest.fixture
def good() -> dict[str, bytes]:
    """Return the files of a whole, correct data set."""
    return dict(GOOD)


@pytest.fixture
def folder(tmp_path: Path) -> Callable[[Mapping[str, bytes]], Path]:
    """Return the function that writes files into a folder."""
    return lambda files: write_files(tmp_path / "files", files)


@pytest.fixture
def archive(tmp_path: Path) -> Callable[..., Path]:
    """Return the function that writes a zip."""
    return lambda files, name="pairs_public.zip": write_zip(tmp_path / "zips" / name, files)
