"""Two models of a suite on the same dev records: how far apart they are, and how sure that is.

In: the table, what its rows were made from. Out: a comparison by task, and one over all tasks that both have
whole. Records are read again, nothing is downloaded, no backend is loaded.
Knows nothing about how the table is written or drawn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median, stdev

from clue_runner.errors import ClueError
from clue_runner.metrics.confidence import SEED, Summed
from clue_runner.metrics.significance import Draws, judge, paired_draws
from clue_runner.reports.answers import read_answered
from clue_runner.runs.folder import RunFolder
from clue_runner.suites.collected import Collected, Comparison
from clue_runner.suites.records import one_line
from clue_runner.suites.table import Found


@dataclass(frozen=True)
class Scored:
    """All runs of one model on one task: what each score adds up from, and the ids of the records."""

    summed: Sequence[Summed]
    ids: Sequence[object]


def compare_models(
    table: Collected,
    found: Sequence[Found],
    data: Mapping[str, str | None],
    labels: Sequence[tuple[str, str]],
) -> list[Comparison]:
    """Return how models differ: by task, then over the tasks.

    Args:
        table: the suite's; only what it has whole is compared.
        found: the items with their folders.
        data: item -> what ``--data`` says for it.
        labels: the models to compare, two by two.
    """
    pairs = [
        (one, other, [cell.task for cell in table.cells if cell.model == other and cell.complete])
        for one, other in labels
    ]
    whole = {(cell.model, cell.task) for cell in table.cells if cell.complete}
    scored: dict[tuple[str, str], Scored | str] = {}
    comparisons = []
    for one, other, tasks in pairs:
        drawn: list[Draws] = []
        both = [task for task in tasks if (one, task) in whole]
        for number, task in enumerate(both):
            sides = []
            for model in (one, other):
                if (model, task) not in scored:
                    scored[model, task] = _scored(model, task, found, data)
                sides.append(scored[model, task])
            draws = _draws(sides[0], sides[1], SEED + number)
            if isinstance(draws, str):
                comparisons.append(Comparison(first=one, second=other, tasks=[task], reason=draws))
            else:
                compared = _comparison(one, other, [task], [draws])
                comparisons.append(compared.model_copy(update=_over_seeds(table, one, other, task)))
                drawn.append(draws)
        if len(both) > 1 and len(drawn) == len(both):
            comparisons.append(_comparison(one, other, both, drawn))
    return comparisons


def _comparison(first: str, second: str, tasks: list[str], draws: Sequence[Draws]) -> Comparison:
    """Return the mean difference over tasks."""
    paired = judge(draws)
    return Comparison(
        first=first,
        second=second,
        tasks=tasks,
        difference=paired.difference,
        interval=paired.interval,
        p=paired.p,
    )


def _over_seeds(table: Collected, first: str, second: str, task: str) -> dict[str, float | None]:
    """Return the spread of the difference over seeds, and what an update costs, second over first."""
    scores: list[dict[tuple[int, str | None], float]] = []
    costs: list[list[float]] = []
    for model in (first, second):
        rows = [row for row in table.rows if (row.model, row.task, row.stage) == (model, task, "score")]
        scores.append({(row.seed, row.fold): row.score for row in rows if row.score is not None})
        costs.append([row.step_seconds for row in rows if row.step_seconds is not None])
    before, after = scores
    differences = [score - before[key] for key, score in after.items() if key in before]
    return {
        "seeds_std": stdev(differences) if len(differences) > 1 else None,
        "step_cost": median(costs[1]) / median(costs[0]) if all(costs) else None,
    }


def _draws(first: Scored | str, second: Scored | str, seed: int) -> Draws | str:
    """Return the differences on resampled records, or why there are none."""
    if isinstance(first, str):
        return first
    if isinstance(second, str):
        return second
    if first.ids != second.ids:
        return "the models were scored on different records"
    return paired_draws(first.summed, second.summed, seed=seed)


def _scored(model: str, task: str, found: Sequence[Found], data: Mapping[str, str | None]) -> Scored | str:
    """Return what a model's scores on a task add up from, or why that is not known."""
    summed: list[Summed] = []
    ids: list[object] = []
    for one in found:
        wish, result = one.item.wish, one.standing.result
        if (wish.label, one.item.task, wish.stage) != (model, task, "score") or result is None:
            continue
        try:
            answered = read_answered(RunFolder(Path(str(one.folder))), result, data[one.item.id])
        except ClueError as error:
            return one_line(str(error))
        scores = answered.scores.summed
        if scores is None:
            return "this task's score is not a function of sums over records"
        own = [record.id for record in answered.records.items]
        if summed and own != ids:
            return "the runs of one model were scored on different records"
        summed, ids = [*summed, scores], own
    return Scored(summed, ids)
