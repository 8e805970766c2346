"""Expands a suite: one ``Wish`` for each run of its first stage, and for the chosen setting.

In: a suite. Out: wishes in the order of the file. Values are not compared here: two wishes with
the same settings are found during planning. Knows nothing about cards, data or runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import combinations, product
from pathlib import Path
from typing import Literal

from clue_runner.suites.collected import Setting
from clue_runner.suites.suite import Entry, Suite

Stage = Literal["grid", "score"]


@dataclass(frozen=True)
class Wish:
    """One run that a suite wants.

    Args:
        stage: ``grid``: one of several settings; ``score``: what is reported.
        model: the entry; ``label``: what tables call it.
        task: the entry.
        seed: of the run.
        fold: ``i/k``: the part of train that is left out; None: none.
        point: the grid's values.
    """

    stage: Stage
    model: Entry
    task: Entry
    seed: int
    fold: str | None = None
    point: Mapping[str, Setting] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """Return what tables and folders call the model."""
        return model_label(self.model)

    def settings(self, suite: Suite) -> dict[str, Setting]:
        """Return every setting that the suite gives this run, by dotted key."""
        own: dict[str, Setting] = {
            **suite.settings,
            **self.model.settings,
            **self.task.settings,
            **self.point,
        }
        return {**own, **({"data.fold": self.fold} if self.fold else {})}


def model_label(entry: Entry) -> str:
    """Return what tables and folders call a model."""
    return entry.label or Path(entry.name).name


def points(suite: Suite) -> list[dict[str, Setting]]:
    """Return the points of the grid, the last key moving fastest; one empty point where there is none."""
    grid = suite.grid or {}
    return [dict(zip(grid, values, strict=True)) for values in product(*grid.values())]


def has_grid(suite: Suite) -> bool:
    """Return whether there is something to choose."""
    return len(points(suite)) > 1


def fresh_seeds(suite: Suite) -> list[int]:
    """Return the seeds of the runs that are reported after a grid: none that the grid has seen."""
    if suite.fresh_seeds is not None:
        return list(suite.fresh_seeds)
    first = max(suite.seeds) + 1
    return list(range(first, first + len(suite.seeds)))


def pairs(suite: Suite) -> list[tuple[Entry, Entry]]:
    """Return every model with every task that it is for."""
    return [
        (model, task)
        for model in suite.models
        for task in suite.tasks
        if model.tasks is None or task.name in model.tasks
    ]


def compared_labels(suite: Suite) -> list[tuple[str, str]]:
    """Return the labels of the models to compare: each with its baseline, or each two where there is none.

    Where a suite's variants are those of several models, a variant's baseline is that of its own model.
    """
    labels = [model_label(model) for model in suite.models]
    if suite.baseline is None:
        return list(combinations(labels, 2))
    bases = [
        model
        for model in suite.models
        if model_label(model) in {suite.baseline, variant_label(model.name, suite.baseline)}
    ]
    found = []
    for model in suite.models:
        own = next((base for base in bases if base.name == model.name), bases[0] if bases else None)
        if own is not None and model not in bases:
            found.append((model_label(own), model_label(model)))
    return found


def variant_label(name: str, label: str) -> str:
    """Return what tables call a variant of a model that the command line names."""
    return f"{Path(name).name}-{label}"


def first_stage(suite: Suite) -> Iterator[Wish]:
    """Yield the runs that nothing has to be known for."""
    stage: Stage = "grid" if has_grid(suite) else "score"
    for model, task in pairs(suite):
        for point in points(suite):
            for seed in suite.seeds:
                yield from _folds(suite, Wish(stage, model, task, seed, None, point))


def second_stage(suite: Suite, model: Entry, task: Entry, point: Mapping[str, Setting]) -> Iterator[Wish]:
    """Yield the runs of the chosen point on fresh seeds."""
    for seed in fresh_seeds(suite):
        yield from _folds(suite, Wish("score", model, task, seed, None, point))


def _folds(suite: Suite, wish: Wish) -> Iterator[Wish]:
    """Yield a wish once for each fold."""
    if suite.folds is None:
        yield wish
    for number in range(suite.folds or 0):
        yield replace(wish, fold=f"{number}/{suite.folds}")
