"""Chooses the point of a grid to run again: the best mean dev score, the first among equals.

In: the grid's items and their states. Out: the chosen point of each model and task, or why there is none
yet. The best of many is biased upwards, so its score is never reported. Knows nothing about files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from clue_runner.suites.collected import Setting
from clue_runner.suites.items import Item
from clue_runner.suites.records import Standing
from clue_runner.suites.suite import Entry

Pair = tuple[str, str]  # the model's label, the task's name in the suite


@dataclass(frozen=True)
class Pick:
    """A grid's choice for one model and task.

    Args:
        model, task: the entries.
        ended: every item of the grid has ended, successfully or not.
        point: the best one whose seeds all have a score; None where there is none.
        score: its mean.
    """

    model: Entry
    task: Entry
    ended: bool
    point: Mapping[str, Setting] | None = None
    score: float | None = None


def picks(items: Sequence[Item], standings: Mapping[str, Standing]) -> dict[Pair, Pick]:
    """Return the grid's choices, by model and task in the suite's order."""
    groups: dict[Pair, list[Item]] = {}
    for item in items:
        if item.wish.stage == "grid":
            groups.setdefault((item.wish.label, item.wish.task.name), []).append(item)
    return {pair: _pick(group, standings) for pair, group in groups.items()}


def _pick(items: Sequence[Item], standings: Mapping[str, Standing]) -> Pick:
    """Return the grid's choice for one model and task."""
    wish = items[0].wish
    if any(standings[item.id].state == "missing" for item in items):
        return Pick(wish.model, wish.task, ended=False)
    points: dict[tuple[tuple[str, Setting], ...], list[float | None]] = {}
    for item in items:
        result = standings[item.id].result
        points.setdefault(tuple(item.wish.point.items()), []).append(
            result.score if result is not None else None
        )
    best: tuple[float, dict[str, Setting]] | None = None
    for point, scores in points.items():
        whole = [score for score in scores if score is not None]
        if len(whole) == len(scores) and (best is None or fmean(whole) > best[0]):
            best = fmean(whole), dict(point)
    if best is None:
        return Pick(wish.model, wish.task, ended=True)
    return Pick(wish.model, wish.task, ended=True, point=best[1], score=best[0])
