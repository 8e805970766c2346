"""Update rules, one file each: the file's name is the rule's.

In: a name and settings. Out: an ``UpdateRule``.
Knows nothing about any rule: a new one is a new file in this folder. Keras is not imported.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping

from clue_runner.config.schema import Section
from clue_runner.engines.by_name import class_named, class_names
from clue_runner.engines.rules.base import UpdateRule

SETTING = "train.optimizer"


def rule_names() -> tuple[str, ...]:
    """Return the names of all update rules."""
    return class_names(sys.modules[__name__], UpdateRule)  # type: ignore[type-abstract]


def rule_type(name: str) -> type[UpdateRule]:
    """Return the update rule called ``name``.

    Raises:
        UsageError: there is none.
    """
    package = sys.modules[__name__]
    return class_named(package, UpdateRule, name, kind="update rule", where=SETTING)  # type: ignore[type-abstract]


def rule_settings(name: str) -> type[Section]:
    """Return the settings specific to the rule called ``name``, in the section ``train:``."""
    return rule_type(name).settings_type


def make_rule(name: str, values: Mapping[str, object], *, weight_decay: float = 0.0) -> UpdateRule:
    """Return a rule with its settings.

    Args:
        name: of the rule.
        values: settings by name; those of other rules are ignored, missing ones
            have the rule's defaults.
        weight_decay: that of the weights that decay.

    Raises:
        UsageError: there is no such rule.
        pydantic.ValidationError: a setting has the wrong type or range.
    """
    rule = rule_type(name)
    own = {key: value for key, value in values.items() if key in rule.settings_type.model_fields}
    return rule(rule.settings_type(**own), weight_decay=weight_decay)
