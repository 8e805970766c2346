"""The settings that belong to one kind of task: the section ``task`` of a run.

In: a run. Out: an adapter's own settings. Knows nothing about what they mean.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, TypeVar

from clue_runner.config.schema import Run, Section


class AdapterSettings(Section):
    """Base of every adapter's own settings, the section ``task`` of a run; each has a default.

    ``FORMER`` maps an own key to the key that held it in runs of the version before there were such sections.
    """

    FORMER: ClassVar[Mapping[str, str]] = {}


SettingsT = TypeVar("SettingsT", bound=AdapterSettings)


def own_settings(kind: type[SettingsT], run: Run | None) -> SettingsT:
    """Return an adapter's own settings: the run's section ``task``; their defaults without a run.

    Raises:
        RuntimeError: the run is of a task of another kind (our bug).
    """
    if run is None or not kind.model_fields:
        return kind()
    task: object = run.task
    if not isinstance(task, kind):
        raise RuntimeError(f"a run of a {run.task.adapter} task has no {kind.__module__} settings")
    return task
