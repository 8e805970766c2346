"""Recipes and the user's config files: settings, and settings for single tasks.

In: what ``--config`` names. Out: its layers for one task, problems appended with file and line.
Knows nothing about what the settings mean.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import takewhile
from pathlib import Path

from clue_runner.config.layers import Layer, layer_from_mapping
from clue_runner.config.shipped import config_names, find_config_file, shipped_folder, shown_config
from clue_runner.config.yaml_reader import read_yaml
from clue_runner.errors import Problem, suggest


def recipe_names() -> tuple[str, ...]:
    """Return the names of the shipped recipes, sorted."""
    return config_names("train")


def recipe_words(name: str) -> str:
    """Return the purpose of a shipped recipe: the comment at the top of its file, as one line."""
    path = shipped_folder("configs") / "train" / f"{name}.yaml"
    lines = path.read_text(encoding="utf-8").split("\n")
    comment = takewhile(lambda line: line.startswith("#"), lines)
    return " ".join(line.removeprefix("#").strip() for line in comment)


def find_config(text: str) -> Path:
    """Return the file that ``--config`` means: a recipe's name first, then a path.

    Raises:
        UsageError: no recipe has this name.
        DataError: it is written as a path that does not exist.
    """
    return find_config_file(
        text, "train", kind="recipe", what="config file", list_command="clue config recipes"
    )


def recipe_layers(path: Path, problems: list[Problem]) -> list[tuple[str | None, Layer]]:
    """Return the file's layers with the task that each is for: None, then the ``tasks:`` entries."""
    document = read_yaml(path, shown_config(path))
    values = {key: value for key, value in document.values.items() if key != "tasks"}
    layers: list[tuple[str | None, Layer]] = [
        (None, layer_from_mapping(document.name, values, problems, document=document))
    ]
    tasks = document.values.get("tasks")
    if tasks is None:
        return layers
    if not isinstance(tasks, Mapping):
        problems.append(Problem("tasks must contain task names", document.where(("tasks",))))
        return layers
    for name, inner in tasks.items():
        place = document.where(("tasks", name))
        if not isinstance(inner, Mapping):
            problems.append(Problem(f"tasks.{name} must contain settings", place))
            continue
        title = f"{document.name} (tasks.{name})"
        layer = layer_from_mapping(title, inner, problems, document=document, prefix=("tasks", name))
        layer.place = place
        layers.append((name, layer))
    return layers


def misspelt_task(name: str, current: str | None, place: str) -> Problem | None:
    """Return the problem of a task name that is a near miss; a user's own task may have any other name."""
    known = [folder.name for folder in shipped_folder("tasks").glob("*") if (folder / "task.yaml").is_file()]
    if name == current or name in known:
        return None
    guess = suggest(name, [*known, *([current] if current else [])])
    return Problem(f"tasks.{name}: no such task, did you mean {guess}?", place) if guess else None
