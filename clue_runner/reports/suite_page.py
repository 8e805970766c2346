"""The page of a suite: the table, the spread over seeds, pairs of models, gates, failures and their reasons.

In: ``collected.json``, as ``clue bench collect`` writes it. Out: HTML. Knows nothing about run folders,
planning or argv.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from markupsafe import Markup

from clue_runner.errors import DataError
from clue_runner.files.atomic import make_folder, write_atomic
from clue_runner.files.reading import DamagedFileError, read_object
from clue_runner.metrics.significance import summarise_seeds
from clue_runner.reports import charts
from clue_runner.reports.baseline import baseline_score
from clue_runner.reports.render import render
from clue_runner.reports.words import Language, speaker

TABLE, PAGE = "collected.json", "report.html"
SCHEMA = 1
ROOT = Path("runs")  # where clue baseline writes its results, one folder per task
Cell = Mapping[str, Any]
Say = Callable[..., str]


@dataclass
class SuitePage:
    """Everything that the template ``suite.html`` reads.

    Args:
        table: (task in words, chance, linear baseline, one entry per model: mean, std, done, planned).
        averages: one per model: mean or None, and the missing tasks.
        spread: (task in words, chart).
        pairs: (model, [(mean difference, tasks, p or None) or None for each model]).
        compared: each pair of models on one task, or on several that both completed: the paired bootstrap.
        problems: rows that failed or are missing.
        refused: cells whose settings their task or network cannot use.
        baseline: label of the model that all others are compared with.
    """

    suite: str
    title: str
    sample: bool
    models: list[str]
    table: list[tuple[str, float | None, float | None, list[dict[str, Any]]]]
    averages: list[tuple[float | None, list[str]]]
    spread: list[tuple[str, Markup]]
    pairs: list[tuple[str, list[tuple[float, int, float | None] | None]]]
    compared: list[tuple[str, Mapping[str, Any]]]
    published: list[tuple[str, list[Mapping[str, Any]]]]
    grids: list[Cell]
    gates: list[Mapping[str, Any]]
    problems: list[Mapping[str, Any]]
    refused: list[Cell]
    baseline: str | None = None
    left_out: list[str] = field(default_factory=list)

    @property
    def has_linear(self) -> bool:
        """Return whether some task has a linear baseline."""
        return any(linear is not None for _, _, linear, _ in self.table)

    @property
    def sections(self) -> list[str]:
        """Return the sections that the page has, in order."""
        there = {
            "spread": self.spread,
            "pairs": len(self.models) > 1,
            "grid": self.grids,
            "refused": self.refused,
            "gates": self.gates,
            "published": self.published,
        }
        names = ("table", "spread", "pairs", "grid", "gates", "refused", "failures", "published")
        return [name for name in names if there.get(name, True)]


def write_suite_page(table: Path, language: Language, output: Path | None = None) -> Path:
    """Write the page of a suite; return its path.

    Args:
        table: the ``collected.json`` of the suite.
        language: of the page.
        output: the page; None: next to the table.

    Raises:
        DataError: the table is missing, damaged or from another version.
        StorageError: the disk refused.
    """
    try:
        content = read_object(table)
        if content.get("schema") != SCHEMA:
            raise DamagedFileError(f"has schema {content.get('schema')!r}; this version reads {SCHEMA}")
        page = suite_page(content, language)
    except FileNotFoundError:
        raise DataError(
            "no table of a suite found", where=str(table), next_step="make one: clue bench collect SUITE"
        ) from None
    except (DamagedFileError, KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"the table cannot be read: {error}",
            where=str(table),
            next_step="make it again: clue bench collect SUITE",
        ) from error
    path = output or table.with_name(PAGE)
    make_folder(path.absolute().parent)
    write_atomic(path, render("suite.html", page, language).encode())
    return path


def suite_page(content: Mapping[str, Any], language: Language) -> SuitePage:
    """Return the content of the page.

    Raises:
        KeyError, TypeError, ValueError: the content is not a table of a suite.
    """
    say = speaker(language)
    models, tasks = list(content["models"]), list(content["tasks"])
    cells: dict[tuple[str, str], Cell] = {(one["model"], one["task"]): one for one in content["cells"]}
    titles = content.get("titles", {}).get(language, {})
    named = {task: f"{titles[task]} ({task})" if titles.get(task) else task for task in tasks}
    averages = {one["model"]: one for one in content.get("averages", ())}
    rows = []
    for task in tasks:
        own = [cells.get((model, task)) for model in models]
        chance = next((one["chance"] for one in own if one and one.get("chance") is not None), None)
        hashes = [row["data_sha256"].get("dev") for row in content["rows"] if _is_of(row, task)]
        linear = baseline_score(ROOT / task, hashes[0]) if len(set(hashes)) == 1 else None
        rows.append((named[task], chance, linear, [_entry(one) for one in own]))
    return SuitePage(
        suite=content["suite"],
        title=content["title"],
        sample=bool(content.get("sample")),
        models=models,
        table=rows,
        averages=[
            (averages[model]["mean"], list(averages[model].get("missing", ())))
            if model in averages
            else (None, [])
            for model in models
        ]
        if averages
        else [],
        spread=_spread(models, named, cells, say),
        pairs=_pairs(models, tasks, cells, content.get("pairs", ())),
        compared=[
            (
                named[pair["tasks"][0]]
                if len(pair["tasks"]) == 1
                else say("tasks_of", count=len(pair["tasks"])),
                pair,
            )
            for pair in content.get("pairs", ())
        ],
        published=_published(named, cells),
        grids=[one for one in cells.values() if one.get("chosen") is not None],
        gates=list(content.get("gates", ())),
        problems=[row for row in content["rows"] if row["state"] not in {"ok", "refused"}],
        refused=[one for one in cells.values() if one.get("refused") is not None],
        baseline=content.get("baseline"),
        left_out=list(content.get("left_out", ())),
    )


def _is_of(row: Mapping[str, Any], task: str) -> bool:
    """Return whether a row is of the task and records which data it was scored on."""
    return row["task"] == task and bool(row.get("data_sha256", {}).get("dev"))


def _entry(cell: Cell | None) -> dict[str, Any]:
    """Return one model's cell in a row of the table; its numbers come from the seeds."""
    if cell is None:
        return {"planned": 0, "done": 0, "mean": None, "std": None, "refused": False}
    values = list(cell["values"])
    summary = summarise_seeds(values) if values else None
    return {
        "planned": cell["planned"],
        "done": len(values),
        "mean": summary.mean if summary else None,
        "std": summary.std if summary else None,
        "refused": cell.get("refused") is not None,
    }


def _spread(
    models: list[str], named: Mapping[str, str], cells: Mapping[tuple[str, str], Cell], say: Say
) -> list[tuple[str, Markup]]:
    """Return a strip of dots for each task for which some model has several seeds."""
    found = []
    for task, words in named.items():
        own = [(model, list(cells[model, task]["values"])) for model in models if (model, task) in cells]
        if any(len(values) > 1 for _, values in own):
            chances = [cells[model, task].get("chance") for model, _ in own]
            chance = next((one for one in chances if one is not None), None)
            chart = charts.strips(
                [(model, values) for model, values in own if values],
                chance=chance,
                title=f"{say('spread')}: {words}",
            )
            found.append((words, chart))
    return found


def _pairs(
    models: list[str],
    tasks: list[str],
    cells: Mapping[tuple[str, str], Cell],
    compared: Sequence[Mapping[str, Any]],
) -> list[tuple[str, list[tuple[float, int, float | None] | None]]]:
    """Return the mean difference of each pair of models over the tasks for which both have all seeds."""
    known = {(frozenset((one["first"], one["second"])), len(one["tasks"])): one["p"] for one in compared}

    def mean(model: str, task: str) -> float | None:
        cell = cells.get((model, task))
        if cell is None or not cell["values"] or len(cell["values"]) != cell["planned"]:
            return None
        return float(sum(cell["values"]) / len(cell["values"]))

    def entry(one: str, other: str) -> tuple[float, int, float | None] | None:
        both = [(mean(one, task), mean(other, task)) for task in tasks]
        differences = [a - b for a, b in both if a is not None and b is not None]
        if one == other or not differences:
            return None
        count = len(differences)
        return sum(differences) / count, count, known.get((frozenset((one, other)), count))

    return [(one, [entry(one, other) for other in models]) for one in models]


def _published(
    named: Mapping[str, str], cells: Mapping[tuple[str, str], Cell]
) -> list[tuple[str, list[Mapping[str, Any]]]]:
    """Return the published scores of each task, each once."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for (_, task), cell in cells.items():
        for one in cell.get("published", ()):
            known = found.setdefault(named[task], [])
            if one not in known:
                known.append(one)
    return list(found.items())
