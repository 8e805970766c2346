"""Checks YAML files of the project by what they are: defaults, model presets, recipes, task cards.

In: paths. Out: findings with file and line. Knows the schema of settings; a card's own belongs to
``data/cards.py``, which asks this file about the settings that a card recommends.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from clue_runner.config.layers import check_types, layer_from_mapping
from clue_runner.config.loader import default_layer
from clue_runner.config.presets import read_preset
from clue_runner.config.recipes import recipe_layers
from clue_runner.config.yaml_reader import Document, read_yaml
from clue_runner.errors import ClueError, DataError, Problem

Kind = Literal["card", "model preset", "settings"]


def yaml_files(paths: Sequence[Path]) -> list[Path]:
    """Return the files named, and all YAML files under the folders named, sorted.

    Raises:
        DataError: a path does not exist.
    """
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            found += sorted([*path.rglob("*.yaml"), *path.rglob("*.yml")])
        elif path.is_file():
            found.append(path)
        else:
            raise DataError(f"no file or folder at {path}", next_step="name files or folders that exist")
    return found


def check_file(path: Path) -> tuple[Kind, list[Problem]]:
    """Return what a file is taken for and its problems; a card's: ``data.cards.card_problems``."""
    kind = _kind(path)
    problems: list[Problem] = []
    try:
        _check(path, kind, problems)
    except ClueError as error:
        problems += error.problems or [error.headline]
    return kind, problems


def _kind(path: Path) -> Kind:
    """Return what a file is: cards by name, presets by their ``kind`` key, everything else is settings."""
    if path.name == "task.yaml":
        return "card"
    try:
        values = read_yaml(path).values
    except ClueError:
        return "settings"
    return "model preset" if "kind" in values or path.parent.name == "models" else "settings"


def recommended_problems(document: Document) -> list[Problem]:
    """Return what is wrong with the settings that a task card recommends."""
    problems: list[Problem] = []
    recommended = document.values.get("recommended") or {}
    if isinstance(recommended, dict):  # the card's schema refuses anything else
        layer = layer_from_mapping(
            document.name,
            recommended,
            problems,
            document=document,
            prefix=("recommended",),
            only=("data", "model", "train"),
        )
        check_types(layer, {**default_layer().values, "task": "none"}, problems)
    return problems


def _check(path: Path, kind: Kind, problems: list[Problem]) -> None:
    """Append the problems of one file."""
    base = {**default_layer().values, "task": "none"}
    if kind == "model preset":
        check_types(read_preset(path).layer, base, problems)
    elif kind == "settings":
        for layer in recipe_layers(path, None, problems):
            check_types(layer, base, problems)
