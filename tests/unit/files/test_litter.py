"""One rule for what nobody means: hidden files, and what systems and editors leave behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from clue_runner.files.litter import entries, is_litter

LITTER = [
    "._train.json",
    ".DS_Store",
    "__MACOSX/train.json",
    "Thumbs.db",
    "thumbs.DB",
    "desktop.ini",
    "Desktop.ini",
    "train.json~",
    ".train.json.swp",
    "#train.json#",
    ".#train.json",
    "~$train.xlsx",
    "data/__MACOSX/x.json",
    "data\\.DS_Store",
    "old~/train.json",
    ".git/config",
    "Icon\r",
]
CONTENT = [
    "train.json",
    "./train.json",
    "a/b/train.json",
    "训练.json",
    "#1.json",
    "a~b.json",
    "thumbs.json",
    "#",
]


@pytest.mark.parametrize("name", LITTER)
def test_litter(name: str) -> None:
    assert is_litter(name)


@pytest.mark.parametrize("name", CONTENT)
def test_content(name: str) -> None:
    assert not is_litter(name)


def test_a_listing_leaves_litter_out(tmp_path: Path) -> None:
    for name in ("b.json", "a.json", "desktop.ini", "a.json~", ".hidden"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "__MACOSX").mkdir()
    assert [path.name for path in entries(tmp_path)] == ["a.json", "b.json"]
