"""``clue bench collect``: all results as one table, wherever they were trained.

In: a suite, folders of runs. Out: ``Collected``, written beside the runs; Markdown and JUnit where asked for.
A run from elsewhere counts if its own record proves it to be the same item: same settings, data, weights,
card, program, backend and precision. Knows nothing about executors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from clue_runner.adapters.sections import SECTIONS
from clue_runner.commands.bench.pairs import compare_models
from clue_runner.commands.bench.planning import Planner
from clue_runner.commands.bench.request import BenchRequest
from clue_runner.config.shipped import user_path
from clue_runner.console import Console
from clue_runner.data.cards import find_card
from clue_runner.errors import ClueError, DataError, ScoreTooLowError
from clue_runner.files.atomic import make_folder, write_atomic, write_json
from clue_runner.reports.suite_page import write_suite_page
from clue_runner.reports.words import default_language
from clue_runner.runs.code import code_version
from clue_runner.runs.find import FinishedRun, finished_runs
from clue_runner.suites.chosen import Pick, picks
from clue_runner.suites.collected import FILE, Collected
from clue_runner.suites.grid import compared_labels, fresh_seeds, has_grid, second_stage
from clue_runner.suites.items import Item, item_facts, item_id
from clue_runner.suites.junit import junit
from clue_runner.suites.markdown import markdown
from clue_runner.suites.records import Standing, standing
from clue_runner.suites.table import Found, build_table
from clue_runner.suites.words import (
    average_words,
    chosen_words,
    compared_words,
    comparison_words,
    gate_words,
    head,
    refused_words,
    row_words,
    summary,
    table_row,
)


def fulfil(request: BenchRequest, console: Console) -> dict[str, Any]:
    """Collect a suite's runs; return what ``collected.json`` holds.

    Raises:
        UsageError: a mistake in the suite.
        DataError: a folder of runs that is not there.
        ScoreTooLowError: a gate failed; everything is written before.
    """
    file, root = request.open()
    planner = Planner(file, root)
    table = collect(planner, planner.first(), request.runs, console)
    write(table, root, request, console)
    refuse_closed_gates(table)
    return table.to_json()


def collect(
    planner: Planner, first: Sequence[Item], runs: Sequence[str | Path], console: Console
) -> Collected:
    """Return the table: the first stage's items, and the second stage's once the grid has chosen.

    Args:
        planner: the suite's.
        first: the first stage's items.
        runs: folders with runs from elsewhere.
        console: told of what cannot be read.

    Raises:
        DataError: a folder does not exist.
    """
    suite = planner.file.suite
    elsewhere = _Elsewhere(runs, console)
    standings = {item.id: elsewhere.or_own(item, planner.root) for item in first}
    picked = picks(first, standings)
    second = planned_second(planner, picked)
    standings |= {item.id: elsewhere.or_own(item, planner.root) for item in second}
    items = [*first, *second]
    planned = len(fresh_seeds(suite) if has_grid(suite) else suite.seeds) * (suite.folds or 1)
    found = [
        Found(
            item,
            standings[item.id],
            elsewhere.folder(item, planner.root, standings[item.id]),
            elsewhere=item.id in elsewhere.taken,
            sample=planner.data_of(item.wish) == "sample",
        )
        for item in items
    ]
    cards = {entry.name: find_card(entry.name) for entry in suite.tasks}
    left_out = elsewhere.left_out({item.id for item in items})
    table = build_table(planner.file, found, picked, cards, planned=planned, left_out=left_out)
    data = {item.id: planner.data_of(item.wish) for item in items}
    return table.model_copy(update={"pairs": compare_models(table, found, data, compared_labels(suite))})


def planned_second(planner: Planner, picked: Mapping[tuple[str, str], Pick]) -> list[Item]:
    """Return the known items of the second stage: those of grids that have ended and chosen."""
    wishes = [
        wish
        for pick in picked.values()
        if pick.point is not None
        for wish in second_stage(planner.file.suite, pick.model, pick.task, pick.point)
    ]
    return planner.items(wishes)


class _Elsewhere:
    """Finished runs outside the suite's folder, by the item that each of them is."""

    def __init__(self, folders: Sequence[str | Path], console: Console) -> None:
        """Look through the folders."""
        self.taken: set[str] = set()
        self._found: dict[str, FinishedRun] = {}
        self._reasons: dict[str, tuple[str, str]] = {}
        for folder in folders:
            path = user_path(folder)
            if not path.is_dir():
                raise DataError("no such folder of runs", where=str(folder))
            for run in finished_runs(path, warn=console.warn):
                self._take(run)

    def _take(self, run: FinishedRun) -> None:
        """Note which item a run is; of several for the same item, the one that ended last."""
        result, where = run.result, str(run.folder.path)
        try:
            settings = run.folder.run(SECTIONS)
        except ClueError as error:
            self._reasons[where] = "", str(error.headline)
            return
        identity, precision = result.identity, result.precision
        if settings is None or identity is None or precision is None:
            self._reasons[where] = "", "it does not record what its result depends on"
            return

        def facts(code: str) -> dict[str, Any]:
            return item_facts(settings, result.task, identity, code=code, precision=precision)

        name = item_id(facts(result.code or ""))
        if result.code == code_version():
            self._found.setdefault(name, run)
            self._reasons[where] = name, "it is not an item of this suite"
        else:
            same = item_id(facts(code_version()))
            made_by = result.code or "an unrecorded version"
            self._reasons[where] = same, f"it was trained by {made_by}; this program is {code_version()}"

    def or_own(self, item: Item, root: Path) -> Standing:
        """Return the state of an item in the suite's own folder, else elsewhere."""
        own = standing(item, root)
        run = self._found.get(item.id)
        if own.state == "ok" or run is None:
            return own
        self.taken.add(item.id)
        return Standing("ok", run.result)

    def folder(self, item: Item, root: Path, stands: Standing) -> str | None:
        """Return where an item's run lies."""
        if item.id in self.taken:
            return str(self._found[item.id].folder.path)
        return str(item.folder) if item.folder.is_dir() else None

    def left_out(self, planned: set[str]) -> list[str]:
        """Return each run that was offered and not used, and why."""
        lines = []
        for where, (name, reason) in sorted(self._reasons.items()):
            run = self._found.get(name)
            if name in self.taken and run is not None and str(run.folder.path) == where:
                continue
            if name in planned and "trained by" not in reason:
                reason = "the suite already has this item's result"
            lines.append(f"{where}: {reason}")
        return lines


def write(table: Collected, root: Path, request: BenchRequest, console: Console) -> None:
    """Write the table beside the runs and where it was asked for, and print it."""
    make_folder(root)
    write_json(root / FILE, table.to_json())
    if request.markdown is not None:
        write_atomic(user_path(request.markdown), markdown(table).encode())
    if request.junit is not None:
        write_atomic(user_path(request.junit), junit(table))
    page = write_suite_page(root / FILE, default_language())
    say_table(table, root, console)
    console.say(f"page {page}")
    console.event({"event": "result", "ok": not (table.failed or table.missing), **table.to_json()})


def say_table(table: Collected, root: Path, console: Console) -> None:
    """Print the table, then what a reader must not miss."""
    if not console.json:
        console.table(head(table), [table_row(table, cell) for cell in table.cells])
    for words in (chosen_words(cell) for cell in table.cells):
        if words:
            console.say(words)
    for average in table.averages:
        console.say(average_words(average))
    if compared := compared_words(table):
        console.say(compared)
    else:
        for pair in table.pairs:
            console.say(comparison_words(pair))
    for text in refused_words(table):
        console.say(text)
    for gate in table.gates:
        console.say(gate_words(gate))
    if table.sample:
        console.say("sample data: these scores mean nothing outside this project")
    for row in table.failed:
        console.warn(f"{row_words(row)}: {row.reason}")
    for text in table.left_out:
        console.warn(f"left out: {text}")
    console.say(f"{summary(table)}   {root / FILE}")


def refuse_closed_gates(table: Collected) -> None:
    """Fail where a gate failed, after everything is written.

    Raises:
        ScoreTooLowError: naming every gate.
    """
    closed = [gate_words(gate) for gate in table.gates if not gate.passed]
    if closed:
        raise ScoreTooLowError(
            "a gate of the suite failed",
            received="; ".join(closed),
            next_step="the runs are complete and their files are written",
        )
