"""Recipes and the user's config files: settings, and settings for single tasks.

In: what ``--config`` names. Out: its layers for one task, problems appended with file and line.
Knows nothing about what the settings mean.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from clue_runner.config.layers import Layer, layer_from_mapping
from clue_runner.config.shipped import shipped_folder
from clue_runner.config.yaml_reader import read_yaml
from clue_runner.errors import DataError, Problem, suggest, unknown_name


def recipe_names() -> tuple[str, ...]:
    """Return the names of the shipped recipes, sorted."""
    return tuple(sorted(path.stem for path in (shipped_folder("configs") / "train").glob("*.yaml")))


def find_config(text: str) -> Path:
    """Return the file that ``--config`` means: a recipe's name first, then a path.

    Raises:
        UsageError: no recipe has this name.
        DataError: it is written as a path, and nothing is there.
    """
    if text in recipe_names():
        return shipped_folder("configs") / "train" / f"{text}.yaml"
    path = Path(text).expanduser()
    if path.is_file():
        return path
    if "/" in text or "\\" in text or path.suffix in {".yaml", ".yml"}:
        raise DataError(
            f"no config file at {text}", next_step=f"recipes that ship: {', '.join(recipe_names())}"
        )
    raise unknown_name("recipe", text, recipe_names(), list_command="clue config show --help")


def recipe_layers(path: Path, task: str | None, problems: list[Problem]) -> list[Layer]:
    """Return the file's layer, then that of its ``tasks:`` entry for ``task`` (name or folder; None: all).

    Keys of entries for other tasks are checked too: a misspelt one there would wait for a later run.
    """
    root = shipped_folder("configs").parent
    document = read_yaml(path, str(path.relative_to(root)) if path.is_relative_to(root) else str(path))
    values = {key: value for key, value in document.values.items() if key != "tasks"}
    layers = [layer_from_mapping(document.name, values, problems, document=document)]
    tasks = document.values.get("tasks")
    if tasks is None:
        return layers
    if not isinstance(tasks, Mapping):
        problems.append(Problem("tasks needs task names under it", document.where(("tasks",))))
        return layers
    current = Path(task).name if task is not None else None
    for name, inner in tasks.items():
        place = document.where(("tasks", name))
        _check_task_name(name, current, place, problems)
        if not isinstance(inner, Mapping):
            problems.append(Problem(f"tasks.{name} needs settings under it", place))
            continue
        title = f"{document.name} (tasks.{name})"
        layer = layer_from_mapping(title, inner, problems, document=document, prefix=("tasks", name))
        if current is None or name == current:
            layers.append(layer)
    return layers


def _check_task_name(name: str, current: str | None, place: str, problems: list[Problem]) -> None:
    """Report a task name that is a near miss; a user's own task elsewhere may have any other name."""
    known = [folder.name for folder in shipped_folder("tasks").glob("*") if (folder / "task.yaml").is_file()]
    if name != current and name not in known:
        guess = suggest(name, [*known, *([current] if current else [])])
        if guess:
            problems.append(Problem(f"tasks.{name}: no such task, did you mean {guess}?", place))
