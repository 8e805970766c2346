"""Techniques that work on gradients, one file each: the file's name is the technique's.

In: a name and settings. Out: a ``Technique``.
Knows nothing about any technique: a new one is a new file in this folder. Keras is not imported.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping

from clue_runner.engines.by_name import class_named, class_names
from clue_runner.engines.techniques.base import Technique

SETTING = "train.techniques"


def technique_names() -> tuple[str, ...]:
    """Return the names of all techniques."""
    return class_names(sys.modules[__name__], Technique)  # type: ignore[type-abstract]


def technique_type(name: str) -> type[Technique]:
    """Return the technique called ``name``.

    Raises:
        UsageError: there is none.
    """
    package = sys.modules[__name__]
    return class_named(package, Technique, name, kind="technique", where=SETTING)  # type: ignore[type-abstract]


def make_technique(name: str, values: Mapping[str, object]) -> Technique:
    """Return a technique with its settings.

    Args:
        name: of the technique.
        values: settings by name; those that are not its own are passed over, those that are missing have
            the technique's defaults.

    Raises:
        UsageError: there is no such technique.
        pydantic.ValidationError: a setting has the wrong type or range.
    """
    technique = technique_type(name)
    own = {key: value for key, value in values.items() if key in technique.settings_type.model_fields}
    return technique(technique.settings_type(**own))
