"""``clue bench run``: executes what a suite lacks, then collects it.

In: a suite, an executor. Out: run folders, and the table. With a grid: its runs first, then the chosen
settings on fresh seeds. A failed item stops no other; the exit code is that of the first failure.
Knows nothing about how an item is executed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from clue_runner.commands.bench.collect import (
    collect,
    planned_second,
    refuse_closed_gates,
    write,
)
from clue_runner.commands.bench.planning import Planner
from clue_runner.commands.bench.request import BenchRequest
from clue_runner.config.shipped import user_path
from clue_runner.console import Console
from clue_runner.console.signals import Signals
from clue_runner.errors import BusyError, ClueError, UsageError
from clue_runner.files.atomic import probe_folder
from clue_runner.suites.attempt import attempt
from clue_runner.suites.chosen import picks
from clue_runner.suites.collected import Collected
from clue_runner.suites.executors import local
from clue_runner.suites.grid import fresh_seeds, has_grid, pairs
from clue_runner.suites.items import Item, Work
from clue_runner.suites.records import SETTLED, ItemPlace, standing
from clue_runner.suites.suite import Suite

EXECUTORS = ("local", "slurm", "ray")
Execute = Callable[[Sequence[Work], Signals, local.Done], None]


class SuiteFailedError(ClueError):
    """Items of a suite failed; the exit code is that of the first one."""

    def __init__(self, what: str, *, exit_code: int, next_step: str) -> None:
        """Take the exit code of the item."""
        super().__init__(what, next_step=next_step)
        self.exit_code = exit_code


def fulfil(request: BenchRequest, console: Console) -> dict[str, Any]:
    """Execute what is missing, collect, and return what ``collected.json`` holds, or the outcome of one item.

    Raises:
        UsageError: a mistake in the suite or an unusable executor, before anything runs.
        SuiteFailedError: items failed; ScoreTooLowError: a gate failed. Everything is written before.
        InterruptedRunError: stopped by a signal; states are saved.
    """
    file, root = request.open()
    _refuse_contradictions(request)
    _refuse_backend(file.suite.backend)
    execute = _executor(request, file.suite, root)
    planner = Planner(file, root)
    first = planner.first()
    if all(item.problem is not None for item in first) and first[0].problem is not None:
        raise first[0].problem
    single = None if request.index is None else _indexed(planner, first, request.index)
    for folder in (
        root,
        *(user_path(path).absolute().parent for path in (request.markdown, request.junit) if path),
    ):
        probe_folder(folder)
    with Signals(console.warn, last_words=console.last_words) as signals:
        signals.defer()
        if single is not None:
            return _run_one(single, root, signals, console)
        _run_missing(first, root, execute, signals, console)
        if has_grid(file.suite):
            _run_missing(_second(planner, first), root, execute, signals, console)
    table = collect(planner, first, request.runs, console)
    write(table, root, request, console)
    _refuse_failures(table)
    refuse_closed_gates(table)
    return table.to_json()


def _refuse_contradictions(request: BenchRequest) -> None:
    """Refuse options that cannot go together."""
    if request.index is not None and request.executor != "local":
        raise UsageError("--index runs one item here; --executor is for all items", where="--index")
    if request.index is not None and (request.markdown or request.junit):
        raise UsageError("one item makes no table: clue bench collect writes these files", where="--index")
    if request.workers is not None and request.executor != "local":
        raise UsageError(
            "--workers is for the local executor",
            where="--workers",
            next_step=f"set the number in the suite's {request.executor}: section",
        )


def _refuse_backend(backend: str) -> None:
    """Refuse a backend that every run would refuse."""
    wanted = os.environ.get("KERAS_BACKEND")
    if wanted and wanted != backend:
        raise UsageError(
            "two different backends are requested",
            where="environment variable KERAS_BACKEND",
            received=f"{wanted}, but the suite says {backend}",
            next_step=f"unset KERAS_BACKEND, or run with --backend {wanted}",
        )
    if find_spec(backend) is None:
        extra = "jax" if backend == "jax" else "gpu"
        raise UsageError(
            f"{backend} is not installed",
            where="--backend",
            received=backend,
            next_step=f"install it (pip install 'clue-runner[{extra}]'), or choose the other backend",
        )


def _executor(request: BenchRequest, suite: Suite, root: Path) -> Execute:
    """Return the executor, after checking that everything it needs is there.

    Raises:
        UsageError: its extra is not installed, or its cluster cannot be reached.
    """
    if request.executor == "slurm":
        from clue_runner.suites.executors import slurm

        slurm.require(suite.slurm)
        return lambda works, signals, done: slurm.execute(
            works, suite.slurm, root, stopped=lambda: signals.requested is not None, done=done
        )
    if request.executor == "ray":
        from clue_runner.suites.executors import ray

        ray.require(suite.ray)
        return lambda works, signals, done: ray.execute(
            works, suite.ray, stopped=lambda: signals.requested is not None, done=done
        )
    environments = local.slots(request.workers, use_gpus=suite.device != "cpu")
    return lambda works, signals, done: local.execute(
        works, environments, stopped=lambda: signals.requested is not None, done=done
    )


def _run_missing(
    items: Sequence[Item], root: Path, execute: Execute, signals: Signals, console: Console
) -> None:
    """Execute the items that have no result.

    Raises:
        InterruptedRunError: stopped by a signal.
    """
    missing = [item for item in items if item.problem is None and standing(item, root).state not in SETTLED]
    console.say(f"{len(items)} items, {len(missing)} to run; logs in {root}/items/")
    count = 0

    def done(work: Work, code: int) -> None:
        nonlocal count
        count += 1
        item = next(one for one in missing if one.id == work.id)
        _say_done(item, root, code, f"[{count}/{len(missing)}]", console)

    if missing:
        execute([item.work(root) for item in missing], signals, done)
    signals.check("between items; the states of those that were running are saved")


def _say_done(item: Item, root: Path, code: int, number: str, console: Console) -> None:
    """Report how an item ended."""
    stands = standing(item, root)
    result = stands.result
    if result is not None:
        seconds = result.seconds.get("total", 0.0)
        console.say(f"{number} {item.words}: {item.metric} {result.score:.2f} ({seconds:.0f} s)")
    elif stands.state == "refused":
        console.say(f"{number} {item.words}: refused: {stands.reason}")
    else:
        console.warn(f"{number} {item.words}: {stands.reason}; log: {ItemPlace(item.work(root).place).log}")
    console.event(
        {
            "event": "item",
            "id": item.id,
            "item": item.words,
            "ok": stands.state in SETTLED,
            "state": stands.state,
            "exit_code": code,
            "score": None if result is None else result.score,
            "folder": str(item.folder),
        }
    )


def _run_one(item: Item, root: Path, signals: Signals, console: Console) -> dict[str, Any]:
    """Execute one item in place of this process; return its outcome.

    Raises:
        SuiteFailedError: it failed. InterruptedRunError: stopped by a signal; its state is saved.
    """
    refused = standing(item, root).state == "refused"
    if item.problem is not None and not refused:
        raise item.problem
    code = 0
    if not refused:
        code = attempt(item.work(root), stopped=lambda: signals.requested is not None)
    signals.check("between items; the state of the one that was running is saved")
    _say_done(item, root, code, item.id, console)
    stands = standing(item, root)
    outcome = {"ok": True, "id": item.id, "item": item.words, "folder": str(item.folder)}
    if stands.state == "refused":
        answer = {**outcome, "score": None, "refused": stands.reason}
        console.event({"event": "result", **answer})
        return answer
    if stands.result is None:
        raise SuiteFailedError(
            f"{item.words}: {stands.reason}",
            exit_code=code if code > 0 else 128 - code,
            next_step=f"its log: {ItemPlace(item.work(root).place).log}",
        )
    console.event({"event": "result", **outcome, "score": stands.result.score})
    return {**outcome, "score": stands.result.score}


def _indexed(planner: Planner, first: Sequence[Item], index: int) -> Item:
    """Return the item with a number: those of the first stage come first, then those of the second.

    Raises:
        UsageError: no such item.
        BusyError: it is of the second stage, and the grid has not ended.
    """
    suite = planner.file.suite
    own = len(fresh_seeds(suite)) * (suite.folds or 1) if has_grid(suite) else 0
    total = len(first) + own * len(pairs(suite))
    if index >= total:
        raise UsageError(
            "no item has this number", where="--index", received=str(index), allowed=f"0 to {total - 1}"
        )
    if index < len(first):
        return first[index]
    number, place = divmod(index - len(first), own)
    model, task = pairs(suite)[number]
    group = [item for item in first if (item.wish.model, item.wish.task) == (model, task)]
    pair = (group[0].wish.label, task.name)
    picked = picks(group, {item.id: standing(item, planner.root) for item in group})
    if picked[pair].point is None:
        ended = picked[pair].ended
        raise BusyError(
            "no point of the grid has a score for every seed" if ended else "the grid has not ended",
            where=f"--index {index}: {pair[1]}, {pair[0]}",
            next_step=f"run the items 0 to {len(first) - 1} first",
        )
    return planned_second(planner, picked)[place]


def _second(planner: Planner, first: Sequence[Item]) -> list[Item]:
    """Return the items of the second stage."""
    return planned_second(planner, picks(first, {item.id: standing(item, planner.root) for item in first}))


def _refuse_failures(table: Collected) -> None:
    """Fail where items lack a result, after everything is written.

    Raises:
        SuiteFailedError: with the exit code of the first one.
    """
    lost = [*table.failed, *table.missing]
    if lost:
        code = lost[0].exit_code or 1
        raise SuiteFailedError(
            f"{len(lost)} of {len(table.rows)} items have no result",
            exit_code=code if code > 0 else 128 - code,
            next_step="the same command tries them again; a changed suite runs what the change affects",
        )
