"""Checks a layer that may be for any run: a recipe, or its entry for another task.

In: a layer and what is known about the run. Out: problems, those of the kind of run that the layer fits best.
Knows nothing about where layers come from.
"""

from __future__ import annotations

from clue_runner.config.defaults import default_layer
from clue_runner.config.layers import Layer, check_layer
from clue_runner.config.sections import Sections
from clue_runner.errors import ClueError, Problem


def check_anywhere(
    layer: Layer,
    sections: Sections,
    problems: list[Problem],
    *,
    adapter: str | None = None,
    family: str | None = None,
) -> None:
    """Append the problems of a layer in every run that it could apply to.

    Args:
        layer: not changed.
        sections: the kinds of tasks and the families.
        problems: appended to.
        adapter: the kind of task, where it is known.
        family: the family of the model, where it is known.
    """
    fewest: list[Problem] | None = None
    named = layer.values.get("model.family")
    families = [str(named or family)] if named or family else sections.families()
    rule = sections.fitting_rule(layer.values)
    for one_family in families:
        for one_adapter in [adapter] if adapter else sections.adapters():
            schema = sections.schema(one_adapter, one_family, rule)
            copy = Layer(layer.title, dict(layer.values), dict(layer.places))
            found: list[Problem] = []
            base = {**default_layer().values, **schema.defaults}
            base |= {"task.name": "none", "task.adapter": one_adapter, "model.family": one_family}
            base["train.optimizer"] = rule
            check_layer(copy, schema, base, found)
            if fewest is None or len(found) < len(fewest):
                fewest = found
    problems += fewest or []


def adapter_or_any(sections: Sections, task: str | None) -> str | None:
    """Return the kind of a task; None where no task is named or none is known by that name."""
    if task is None:
        return None
    try:
        return sections.adapter_of(task)
    except ClueError:
        return None
