"""``clue bench plan``: every item of a suite with what it will need, before anything runs.

In: a suite. Out: items with their hashes, forecast memory, and time at the speed of finished runs on this
machine, where there are any. No backend is loaded. Knows nothing about executors.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from clue_runner.commands.bench.collect import planned_second
from clue_runner.commands.bench.planning import Planner
from clue_runner.commands.bench.request import BenchRequest
from clue_runner.commands.dry_run import figures
from clue_runner.config.resolved import flat, values_hash
from clue_runner.console import Console, duration, file_size
from clue_runner.errors import ClueError
from clue_runner.memory.guess import guess_choices
from clue_runner.runs.code import code_version
from clue_runner.suites.chosen import picks
from clue_runner.suites.grid import fresh_seeds, has_grid, pairs
from clue_runner.suites.items import Item
from clue_runner.suites.records import SETTLED, Standing, standing
from clue_runner.suites.suite import Entry
from clue_runner.training.members import ROOT
from clue_runner.training.setup import Setup

SCHEMA = 1


@dataclass(frozen=True)
class Need:
    """What an item will take: bytes, seconds without start-up, and the run whose speed those assume."""

    memory: int | None = None
    seconds: float | None = None
    rates_of: str | None = None


def fulfil(request: BenchRequest, console: Console) -> dict[str, Any]:
    """Print every item, and return the plan.

    Raises:
        UsageError: with every mistake in the suite.
        DataError: no such suite.
    """
    file, root = request.open()
    planner = Planner(file, root)
    first = planner.first()
    standings = {item.id: standing(item, root) for item in first}
    second = planned_second(planner, picks(first, standings))
    standings |= {item.id: standing(item, root) for item in second}
    items = [*first, *second]
    needs = _needs(planner, items)
    suite = file.suite
    each = len(fresh_seeds(suite)) * (suite.folds or 1) if has_grid(suite) else 0
    later = each * len(pairs(suite))
    indices = [*range(len(first)), *_second_indices(second, pairs(suite), len(first), each)]
    entries = [
        _entry(index, item, standings[item.id], needs[item.id])
        for index, item in zip(indices, items, strict=True)
    ]
    plan: dict[str, Any] = {
        "ok": True,
        "schema": SCHEMA,
        "suite": file.name,
        "title": suite.title,
        "folder": str(root),
        "code": code_version(),
        "items": entries,
        "first_stage": list(range(len(first))),
        "second_stage": list(range(len(first), len(first) + later)),
        "seconds_left": _left(entries),
    }
    _say(plan, items, console)
    console.event({"event": "result", **plan})
    return plan


def _entry(index: int, item: Item, stands: Standing, need: Need) -> dict[str, Any]:
    """Return one item of the plan as plain data."""
    return {
        "index": index,
        "id": item.id,
        "stage": item.wish.stage,
        "task": item.task,
        "model": item.wish.label,
        "seed": item.wish.seed,
        "fold": item.wish.fold,
        "settings": dict(item.wish.point),
        "state": stands.state,
        "reason": stands.reason,
        "backend": item.run.backend,
        "precision": item.facts["precision"],
        "memory_bytes": need.memory,
        "seconds": need.seconds,
        "rates_of": need.rates_of,
        "folder": str(item.folder),
        "command": shlex.join(["clue", "train", *item.arguments, "--output", str(item.folder)]),
    }


def _second_indices(
    second: Sequence[Item], all_pairs: Sequence[tuple[Entry, Entry]], first: int, each: int
) -> list[int]:
    """Return the numbers of the known items of the second stage: they do not wait for the unknown ones."""
    seen = [0] * len(all_pairs)
    indices = []
    for item in second:
        pair = all_pairs.index((item.wish.model, item.wish.task))
        indices.append(first + pair * each + seen[pair])
        seen[pair] += 1
    return indices


def _needs(planner: Planner, items: Sequence[Item]) -> dict[str, Need]:
    """Return what each item will take; seeds of one setting take the same."""
    known: dict[str, Need] = {}
    needs = {}
    for item in sorted(items, key=lambda one: one.wish.task.name):  # so that each task is read once
        data = planner.data_of(item.wish)
        key = values_hash({"data": data, "run": {**flat(item.run), "seed": 0}})
        if key not in known:
            known[key] = _need(planner, item)
        needs[item.id] = known[key]
    return needs


def _need(planner: Planner, item: Item) -> Need:
    """Return what one item will take; nothing is known of one that cannot be run."""
    if item.problem is not None:
        return Need()
    try:
        inputs = planner.inputs(item)
        setup = Setup(**vars(inputs), choices=guess_choices(item.run), rows=planner.rows(item))
        found = figures(setup, (planner.root, ROOT))
    except ClueError:  # the run itself will report it
        return Need()
    return Need(found["memory_bytes"], found["seconds"], found["rates_of"])


def _left(entries: Sequence[dict[str, Any]]) -> float | None:
    """Return the seconds of what has no result yet, one after another; None where one is unknown."""
    times = [entry["seconds"] for entry in entries if entry["state"] not in SETTLED]
    return None if None in times else round(sum(times), 1)


def _say(plan: dict[str, Any], items: Sequence[Item], console: Console) -> None:
    """Print the plan."""
    entries = plan["items"]
    if not console.json:
        console.table(
            ("index", "id", "task", "model", "seed", "settings", "state", "memory", "time"),
            [
                (
                    entry["index"],
                    entry["id"][:8],
                    entry["task"],
                    entry["model"],
                    str(entry["seed"]) + (f" fold {entry['fold']}" if entry["fold"] else ""),
                    ", ".join(f"{key}={value}" for key, value in entry["settings"].items()),
                    entry["state"],
                    None if entry["memory_bytes"] is None else file_size(entry["memory_bytes"]),
                    None if entry["seconds"] is None else duration(entry["seconds"]),
                )
                for entry in entries
            ],
        )
    for entry in entries:
        words = f"{entry['task']}, {entry['model']}, seed {entry['seed']}"
        if entry["state"] == "failed":
            console.warn(f"{words}: {entry['reason']}")
        elif entry["state"] == "refused":
            console.say(f"{words}: refused: {entry['reason']}")
    later = len(plan["second_stage"])
    if later:
        console.say(f"then {later} more: the setting that the grid selects, with fresh seeds")
    precisions = sorted({str(item.facts["precision"]) for item in items})
    console.say(f"program {plan['code']}, precision {', '.join(precisions)}, folder {plan['folder']}")
    rates = sorted({entry["rates_of"] for entry in entries if entry["rates_of"]})
    if rates:
        more = f" and {len(rates) - 1} others" if len(rates) > 1 else ""
        console.say(f"time without start-up, at the speed of {rates[0]}{more} on this machine")
    else:
        console.say("time unknown: no finished run of these networks on this machine")
    if plan["seconds_left"] is not None:
        console.say(f"left, one after another: about {duration(plan['seconds_left'])}")
