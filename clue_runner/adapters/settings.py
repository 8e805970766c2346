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
    """Return an adapter's own settings: the run's section ``task``, or what its former keys hold."""
    if run is None or not kind.model_fields:
        return kind()
    task: object = run.task
    if isinstance(task, kind):
        return task
    sections = run.model_dump()
    former = {own: key.split(".") for own, key in kind.FORMER.items()}
    return kind.model_validate({own: sections[section][key] for own, (section, key) in former.items()})
