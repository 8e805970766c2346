"""Checks the project's YAML files by their kind: defaults, model presets, recipes, task cards, suites.

In: paths. Out: findings with file and line. Knows the schema of settings; a suite's own belongs to
``suites/``, a card's to ``data/cards.py``, which asks this file about the settings that a card recommends.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from clue_runner.config.anywhere import adapter_or_any, check_anywhere
from clue_runner.config.defaults import default_layer
from clue_runner.config.layers import Layer, check_layer, layer_from_mapping
from clue_runner.config.loader import cross_checks
from clue_runner.config.presets import read_preset
from clue_runner.config.recipes import misspelt_task, recipe_layers
from clue_runner.config.sections import OPEN_GROUPS, Sections, common_schema
from clue_runner.config.shipped import user_path
from clue_runner.config.yaml_reader import Document, read_yaml
from clue_runner.errors import ClueError, DataError, Problem

ELSEWHERE = "another layer"  # where a setting comes from that the file does not have
Kind = Literal["card", "model preset", "settings", "suite"]


def yaml_files(paths: Sequence[Path]) -> list[Path]:
    """Return the files named, and all YAML files under the folders named, sorted, hidden folders aside.

    Raises:
        DataError: a path does not exist.
    """
    found: list[Path] = []
    for path in map(user_path, paths):
        if path.is_dir():
            found += sorted(_yaml_below(path))
        elif path.is_file():
            found.append(path)
        else:
            raise DataError(f"no file or folder at {path}", next_step="name files or folders that exist")
    return found


def _yaml_below(folder: Path) -> Iterator[Path]:
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]  # .venv, .git, a tool's own files
        yield from (Path(place, name) for name in names if Path(name).suffix in {".yaml", ".yml"})


def check_file(path: Path, sections: Sections) -> tuple[Kind, list[Problem]]:
    """Return a file's kind and its problems; cards and suites are checked elsewhere."""
    kind = _kind(path)
    problems: list[Problem] = []
    try:
        _check(path, kind, sections, problems)
    except ClueError as error:
        problems += error.problems or [error.headline]
    return kind, problems


def _kind(path: Path) -> Kind:
    """Return a file's kind: cards by name, presets and suites by their keys, everything else is settings."""
    if path.name == "task.yaml":
        return "card"
    if path.parent.name == "suites":
        return "suite"
    try:
        values = read_yaml(path).values
    except ClueError:
        return "settings"
    if {"models", "tasks"} <= values.keys():
        return "suite"
    return "model preset" if "kind" in values or path.parent.name == "models" else "settings"


def recommended_layer(document: Document, problems: list[Problem]) -> Layer:
    """Return the settings that a task card recommends; groups that no card may set are problems."""
    recommended = document.values.get("recommended") or {}
    if not isinstance(recommended, dict):  # the card's schema refuses anything else
        return Layer(document.name)
    return layer_from_mapping(
        document.name,
        recommended,
        problems,
        document=document,
        prefix=("recommended",),
        only=("task", "data", "model", "train"),
    )


def recommended_problems(document: Document) -> list[Problem]:
    """Return the problems of the common settings that a card recommends.

    Those of its kind of task and of a family of models are checked where these are known: ``card_settings``.
    """
    problems: list[Problem] = []
    layer = recommended_layer(document, problems)
    common = common_schema()
    for key in [key for key in layer.values if key not in common.fields]:
        if key.partition(".")[0] in OPEN_GROUPS:
            del layer.values[key], layer.places[key]
    base = {**default_layer().values, "task.name": "none", "task.adapter": "none"}
    check_layer(layer, common, base, problems)
    return problems


def card_settings(path: Path, adapter: str, sections: Sections) -> list[Problem]:
    """Return the problems of all settings that the card at ``path`` recommends."""
    problems: list[Problem] = []
    check_anywhere(recommended_layer(read_yaml(path), problems), sections, problems, adapter=adapter)
    return problems


def _check(path: Path, kind: Kind, sections: Sections, problems: list[Problem]) -> None:
    """Append the problems of one file."""
    if kind == "model preset":
        family = str(default_layer().values["model.family"])
        read_preset(path, lambda layer, found: check_anywhere(layer, sections, found, family=family))
    elif kind == "settings":
        above = Layer(str(path))
        for task, layer in recipe_layers(path, problems):
            if task is not None and (misspelt := misspelt_task(task, None, layer.place)):
                problems.append(misspelt)
            check_anywhere(layer, sections, problems, adapter=adapter_or_any(sections, task))
            if task is None:
                above = layer
            whole = Layer(layer.title, {**above.values, **layer.values}, {**above.places, **layer.places})
            if not problems:
                problems += _contradictions(whole, sections)


def _contradictions(layer: Layer, sections: Sections) -> list[Problem]:
    """Return what cannot go together within a file; what other layers say is not known here."""
    schema = sections.schema(
        "", str(layer.values.get("model.family", default_layer().values["model.family"]))
    )
    base = {**default_layer().values, **schema.defaults, "task.name": "none", "task.adapter": "none"}
    known = Layer(layer.title, {key: value for key, value in layer.values.items() if key in base})
    known.places.update({key: layer.places[key] for key in known.values})
    check_layer(known, schema, base, [])
    origins = dict.fromkeys(base, ELSEWHERE) | known.places
    found = cross_checks(schema, {**base, **known.values}, origins, {})
    return [problem for problem in found if ELSEWHERE not in (problem.where or "")]
