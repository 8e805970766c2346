"""Checks YAML files of the project by what they are: defaults, model presets, recipes, task cards.

In: paths. Out: findings with file and line. Knows the schema of settings; a card's own schema belongs to
``data/cards.py``, so a card is checked here for its syntax and its recommended settings only.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from clue_runner.config.anywhere import adapter_or_any, check_anywhere
from clue_runner.config.defaults import default_layer
from clue_runner.config.layers import layer_from_mapping
from clue_runner.config.presets import read_preset
from clue_runner.config.recipes import misspelt_task, recipe_layers
from clue_runner.config.sections import Sections
from clue_runner.config.yaml_reader import read_yaml
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


def check_file(path: Path, sections: Sections) -> tuple[Kind, list[Problem]]:
    """Return what a file is taken for and all problems in it."""
    kind = _kind(path)
    problems: list[Problem] = []
    try:
        _check(path, kind, sections, problems)
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


def _check(path: Path, kind: Kind, sections: Sections, problems: list[Problem]) -> None:
    """Append the problems of one file."""
    if kind == "card":
        document = read_yaml(path)
        recommended = document.values.get("recommended") or {}
        layer = layer_from_mapping(
            str(path),
            recommended,
            problems,
            document=document,
            prefix=("recommended",),
            only=("task", "data", "model", "train"),
        )
        adapter = document.values.get("adapter")
        known = adapter in sections.adapters()
        check_anywhere(layer, sections, problems, adapter=str(adapter) if known else None)
    elif kind == "model preset":
        layer = read_preset(path).layer
        family = layer.values.get("model.family", default_layer().values["model.family"])
        check_anywhere(layer, sections, problems, family=str(family))
    else:
        for task, layer in recipe_layers(path, problems):
            if task is not None and (misspelt := misspelt_task(task, None, layer.place)):
                problems.append(misspelt)
            check_anywhere(layer, sections, problems, adapter=adapter_or_any(sections, task))
