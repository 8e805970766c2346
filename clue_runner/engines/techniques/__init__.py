"""Training techniques, one file each: the file's name is the technique's, and the setting that turns it on.

In: settings. Out: the ``Technique``s that are on, the outermost first.
Knows nothing about any technique: a new one is a new file in this folder. Keras is not imported.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping

from clue_runner.config.schema import Section
from clue_runner.engines.by_name import class_named, class_names
from clue_runner.engines.techniques.base import Technique
from clue_runner.errors import Problem, UsageError

SETTING = "train"


def technique_names() -> tuple[str, ...]:
    """Return the names of all techniques, sorted."""
    return class_names(sys.modules[__name__], Technique)


def technique_type(name: str) -> type[Technique]:
    """Return the technique called ``name``.

    Raises:
        UsageError: there is none.
    """
    return class_named(sys.modules[__name__], Technique, name, kind="technique", where=SETTING)


def technique_settings() -> tuple[type[Section], ...]:
    """Return the settings of every technique; all of them are in the section ``train:`` of every run.

    Raises:
        RuntimeError: a file's settings do not begin with its own name, or are on by default.
    """
    return tuple(_settings(name) for name in technique_names())


def make_technique(name: str, values: Mapping[str, object]) -> Technique:
    """Return a technique with its settings.

    Args:
        name: of the technique.
        values: settings by name; those of other techniques are ignored, missing ones have
            the technique's defaults.

    Raises:
        UsageError: there is no such technique.
        pydantic.ValidationError: a setting has the wrong type or range.
    """
    technique = technique_type(name)
    own = {key: value for key, value in values.items() if key in technique.settings_type.model_fields}
    return technique(technique.settings_type(**own))


def make_techniques(values: Mapping[str, object]) -> tuple[Technique, ...]:
    """Return the techniques that are on, the outermost first.

    Those around a micro-batch's gradients are outside those inside its loss, and one that calls the network
    itself is innermost; within a kind, the order is alphabetical.

    Args:
        values: settings of ``train:`` by name; a technique whose switch is None or missing is off.

    Raises:
        UsageError: two of them would each call the network in the other's place.
    """
    on = [make_technique(name, values) for name in technique_names() if values.get(name) is not None]
    callers = [technique for technique in on if technique.calls_network]
    if len(callers) > 1:
        names = [type(technique).__module__.rpartition(".")[2] for technique in callers]
        raise UsageError(
            f"{' and '.join(names)} cannot be combined",
            where=", ".join(f"{SETTING}.{name}" for name in names),
            problems=[Problem("each computes the loss from its own passes through the network")],
            next_step=f"set all but one of them to null, e.g. --set {SETTING}.{names[-1]}=null",
        )
    return tuple(sorted(on, key=lambda technique: (technique.changes_loss, technique.calls_network)))


def _settings(name: str) -> type[Section]:
    section = technique_type(name).settings_type
    strangers = [key for key in section.model_fields if key != name and not key.startswith(f"{name}_")]
    if strangers or name not in section.model_fields or section.model_fields[name].default is not None:
        raise RuntimeError(
            f"the settings of {name} must be {name} (None: off) and {name}_..., not {strangers}"
        )
    return section
