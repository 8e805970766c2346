"""``clue cache``: sizes, and what clearing deletes."""

import json
from pathlib import Path

import pytest


@pytest.fixture
def filled(clue_home: Path) -> Path:
    for folder in ("cache/rows", "cache/texts", "cache/compiled", "data/afqmc", "models/rbt3", "logs"):
        (clue_home / folder).mkdir(parents=True)
        (clue_home / folder / "file").write_bytes(b"x" * 1500)
    return clue_home


def test_sizes(clue, filled: Path) -> None:
    assert clue("cache").stdout.count("1.5 kB") == 6
    sizes = json.loads(clue("cache", "--json").stdout)["bytes"]
    assert sizes == dict.fromkeys(("rows", "texts", "compiled", "data", "logs", "models"), 1500)


@pytest.mark.parametrize(
    ("kind", "left"),
    [
        ("rows", {"texts", "compiled", "data", "models", "logs"}),
        ("compiled", {"rows", "texts", "data", "models", "logs"}),
        ("texts", {"rows", "compiled", "data", "models", "logs"}),
        ("data", {"rows", "texts", "compiled", "models", "logs"}),
        ("all", {"models"}),
    ],
)
def test_clear(clue, filled: Path, kind: str, left: set[str]) -> None:
    result = json.loads(clue("cache", "--clear", kind, "--json").stdout)
    assert {name for name, size in result["bytes"].items() if size} == left
    assert sum(result["cleared_bytes"].values()) == 1500 * (6 - len(left))
    assert (filled / "models" / "rbt3" / "file").exists()


def test_a_linked_folder_is_not_followed(clue, clue_home: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("x", encoding="utf-8")
    (clue_home / "data").symlink_to(outside)
    assert clue("cache", "--clear", "data").exit_code == 8
    assert (outside / "precious").exists()


def test_an_empty_home(clue) -> None:
    assert clue("cache", "--clear", "all").exit_code == 0
