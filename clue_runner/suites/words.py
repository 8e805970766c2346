"""How scores of a table are written, for a terminal and for Markdown alike.

In: parts of ``Collected``. Out: short texts and rows of cells. Knows nothing about streams or files.
"""

from __future__ import annotations

from collections.abc import Sequence

from clue_runner.suites.collected import Average, Cell, Collected, Comparison, Gate, Row, Setting
from clue_runner.suites.table import same_model

HEAD = ("task", "model", "metric", "dev", "std", "runs", "chance", "published dev", "published test")
DIFFERENCE = ("difference", "std of it", "95 % interval", "p", "update's time")
HEAD_COMPARED = (*HEAD[:6], *DIFFERENCE)
NO_VALUE = "–"


def number(value: float | None) -> str:
    """Return a score with two decimals, a dash where there is none."""
    return NO_VALUE if value is None else f"{value:.2f}"


def head(table: Collected) -> Sequence[str]:
    """Return the table's head; with a baseline the differences from it take the place of others' scores."""
    return HEAD if table.baseline is None else HEAD_COMPARED


def table_row(table: Collected, cell: Cell) -> list[str]:
    """Return the cells of one line of the table, in the order of its ``head``."""
    row = _own_cells(cell)
    if table.baseline is None:
        published = [same_model(cell.published, cell.model, split) for split in ("dev", "test")]
        return [*row, number(cell.chance), *(number(one.score) if one else NO_VALUE for one in published)]
    pair = table.against_baseline(cell)
    if pair is None or pair.difference is None or pair.interval is None or pair.p is None:
        return [*row, *[NO_VALUE] * (len(HEAD_COMPARED) - len(row))]
    return [
        *row,
        f"{pair.difference:+.2f}",
        number(pair.seeds_std),
        "{:+.2f} to {:+.2f}".format(*pair.interval),
        p_words(pair.p),
        number(pair.step_cost),
    ]


def _own_cells(cell: Cell) -> list[str]:
    """Return the cells of a line that are of one model alone."""
    count = f"{len(cell.values)}" if cell.complete else f"{len(cell.values)} of {cell.planned}"
    return [
        cell.task,
        cell.model,
        cell.metric or NO_VALUE,
        number(cell.mean),
        "one run" if len(cell.values) == 1 else number(cell.std),
        "refused" if cell.refused is not None else count,
    ]


def average_words(average: Average) -> str:
    """Return the average, or the reason why there is none."""
    if average.mean is not None:
        return f"{average.model}: average over {len(average.tasks)} tasks {average.mean:.2f}"
    return f"{average.model}: no average, which needs all tasks: {', '.join(average.missing)} missing"


def gate_words(gate: Gate) -> str:
    """Return a gate and whether it is passed."""
    what = "passed" if gate.passed else "NOT PASSED"
    return f"gate {gate.task}, {gate.model}: {number(gate.mean)} of at least {gate.minimum:g}: {what}"


def chosen_words(cell: Cell) -> str | None:
    """Return the grid's choice, and why its best score is not the reported one."""
    if cell.chosen is None:
        return None
    return (
        f"{cell.task}, {cell.model}: the grid chose {settings_words(cell.chosen)} "
        f"(best of the grid {number(cell.best_of_grid)}, biased upwards); "
        f"run again with fresh seeds: {number(cell.mean)}"
    )


def comparison_words(pair: Comparison) -> str:
    """Return the difference of two models, and its uncertainty."""
    where = pair.tasks[0] if len(pair.tasks) == 1 else f"{len(pair.tasks)} tasks"
    names = f"{pair.second} against {pair.first}, {where}"
    if pair.difference is None or pair.interval is None or pair.p is None:
        return f"{names}: not compared: {pair.reason}"
    low, high = pair.interval
    return f"{names}: {pair.difference:+.2f} [{low:+.2f}, {high:+.2f}], p {p_words(pair.p)}"


def p_words(p: float) -> str:
    """Return a p-value; below the resolution of resampling, as a bound."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def settings_words(settings: dict[str, Setting]) -> str:
    """Return a grid's point in words."""
    return ", ".join(f"{key}={value}" for key, value in settings.items())


def compared_words(table: Collected) -> str | None:
    """Return what the columns of differences hold; None where there are none."""
    if table.baseline is None:
        return None
    return (
        f"difference: from {table.baseline} in points, mean over seeds, and its spread over them (n - 1); "
        "interval and p: paired bootstrap over dev records, which does not cover other seeds; each p is for "
        "its row alone; update's time: a multiple of the baseline's, on the machine as it was then"
    )


def refused_words(table: Collected) -> list[str]:
    """Return each model that a task or its network refuses, once."""
    refused = [cell for cell in table.cells if cell.refused is not None]
    return [f"{cell.task}, {cell.model}: refused: {cell.refused}" for cell in refused]


def row_words(row: Row) -> str:
    """Return an item as people call it."""
    point = f", {settings_words(row.settings)}" if row.settings else ""
    fold = f", fold {row.fold}" if row.fold else ""
    return f"{row.task}, {row.model}, seed {row.seed}{fold}{point}"


def summary(table: Collected) -> str:
    """Return the number of items by outcome."""
    done = sum(row.state == "ok" for row in table.rows)
    parts = [f"{done} of {len(table.rows)} items have a result"]
    parts += [f"{len(table.refused)} refused"] if table.refused else []
    parts += [f"{len(table.failed)} failed"] if table.failed else []
    parts += [f"{len(table.missing)} missing"] if table.missing else []
    return ", ".join(parts)
