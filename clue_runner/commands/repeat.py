"""A ``run.yaml`` given as ``--config``: the run's task, and the data that it was trained on.

In: ``--config`` values. Out: the values for ``--task`` and ``--data``.
Knows nothing about the settings themselves.
"""

from __future__ import annotations

from collections.abc import Sequence

from clue_runner.config.recipes import find_config, recipe_layers, recipe_names
from clue_runner.errors import UsageError
from clue_runner.runs.events import remembered_data
from clue_runner.runs.folder import RunFolder


def task_of(configs: Sequence[str]) -> str:
    """Return the task that the config files name; the last one wins.

    Raises:
        UsageError: none does.
        DataError: a file does not exist.
    """
    for text in reversed(configs):
        for task, layer in recipe_layers(find_config(text), []):
            if task is None and isinstance(name := layer.values.get("task.name"), str):
                return name
    raise UsageError(
        "no task was named",
        where="--task",
        next_step="give --task NAME (all tasks: clue tasks), or --config RUN/run.yaml to repeat a run",
    )


def data_of(configs: Sequence[str]) -> str | None:
    """Return the ``--data`` of the run whose ``run.yaml`` is given; None: no run, or one without ``--data``.

    Raises:
        CheckpointError, StorageError: the run's list of events cannot be read.
    """
    for text in reversed(configs):
        path = find_config(text)
        if text not in recipe_names() and path.name == RunFolder(path.parent).settings.name:
            return remembered_data(path.parent)
    return None
