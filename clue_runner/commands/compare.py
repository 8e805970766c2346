"""``clue compare``: runs of one task side by side, and how sure each difference is.

In: run folders. Out: scores with intervals, a paired bootstrap for each two runs, the records on which they
differ. Refuses runs of different tasks or data. Knows nothing about argv.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from clue_runner.console import Console
from clue_runner.errors import CheckpointError, DataError, Problem, UsageError
from clue_runner.metrics.confidence import Summed
from clue_runner.metrics.significance import paired_bootstrap, summarise_seeds
from clue_runner.reports.answers import DEV, Answered, read_answered
from clue_runner.runs.find import finished_runs, open_run
from clue_runner.runs.folder import RunFolder
from clue_runner.runs.results import SCHEMA, RunResult

MOST = 20  # runs: 190 pairs


@dataclass(frozen=True)
class Compared:
    """One run: its folder, its result, and how each dev record fares."""

    folder: RunFolder
    result: RunResult
    answered: Answered
    summed: Summed | None
    right: list[bool | None]


def fulfil(paths: Sequence[Path], data: str | None, console: Console) -> dict[str, Any]:
    """Compare runs; return the result event's content.

    Raises:
        UsageError: fewer than two runs, too many, or runs of different tasks.
        DataError: runs that were scored on different records, or records that are missing.
        CheckpointError: a folder without a finished run.
    """
    folders = [folder for path in paths for folder in _runs(path, console)]
    if not 2 <= len(folders) <= MOST:
        raise UsageError(
            "compare takes from 2 to 20 finished runs",
            received=str(len(folders)),
            next_step="name run folders, or a folder of several: clue compare runs/afqmc/*",
        )
    results = [_result(folder) for folder in folders]
    _require_same(folders, results)
    runs = [_compared(*one, data) for one in zip(folders, results, strict=True)]
    pairs = [_pair(runs, *numbers) for numbers in combinations(range(len(runs)), 2)]
    content: dict[str, Any] = {
        "schema": SCHEMA,
        "ok": True,
        "task": results[0].task,
        "split": DEV,
        "metric": results[0].metric,
        "examples": len(runs[0].right),
        "runs": [_described(run) for run in runs],
        "models": _models(runs),
        "pairs": pairs,
    }
    _say(content, console)
    console.event({"event": "result", **content})
    return content


def _runs(path: Path, console: Console) -> list[RunFolder]:
    """Return the run in a folder, or the finished runs below it."""
    folder = open_run(path)
    if folder.settings.exists():
        return [folder]
    found = [run.folder for run in finished_runs(folder.path, warn=console.warn)]
    if not found:
        raise CheckpointError("no finished run in this folder", where=str(path))
    return sorted(found, key=lambda one: one.path)


def _result(folder: RunFolder) -> RunResult:
    """Return the result of a run with a score.

    Raises:
        CheckpointError: it has not finished, or failed.
    """
    result = folder.result()
    if result is None or not result.ok:
        raise CheckpointError(
            "this run has no score" if result else "no run in this folder has finished",
            where=str(folder.path),
            next_step="continue it: run the same clue train command again",
        )
    return result


def _require_same(folders: Sequence[RunFolder], results: Sequence[RunResult]) -> None:
    """Refuse runs whose scores are not comparable."""
    for what, named in (
        ("task", [f"{one.task} {one.card_version}" for one in results]),
        ("metric", [one.metric for one in results]),
    ):
        if len(set(named)) > 1:
            raise UsageError(
                f"the runs differ in their {what}",
                problems=_listed(folders, named),
                next_step="name runs of one task; clue bench compares across tasks",
            )
    for what, values in (
        ("dev records", [one.data_sha256.get(DEV, "?") for one in results]),
        ("number of dev records", [str(one.examples) for one in results]),
    ):
        if len(set(values)) > 1:
            raise DataError(
                f"the runs were scored on different data: their {what} differ",
                problems=_listed(folders, [value[:12] for value in values]),
                next_step="train both on the same data, with the same data.limit_dev",
            )


def _listed(folders: Sequence[RunFolder], values: Sequence[str]) -> list[Problem]:
    return [Problem(value, str(folder.path)) for folder, value in zip(folders, values, strict=True)]


def _compared(folder: RunFolder, result: RunResult, data: str | None) -> Compared:
    """Return a run with its answers; a file other than the one it was scored on is refused."""
    answered = read_answered(folder, result, data)
    return Compared(
        folder, result, answered, answered.scores.summed, [one.is_right for one in answered.shown]
    )


def _described(run: Compared) -> dict[str, Any]:
    """Return one run as the result lists it."""
    score, interval, chance, _ = run.result.scored
    return {
        "run": str(run.folder.path),
        "model": run.result.model,
        "seed": run.result.seed,
        "score": score,
        "confidence_interval": list(interval),
        "chance": chance,
        "right": sum(one is True for one in run.right),
    }


def _models(runs: Sequence[Compared]) -> list[dict[str, Any]]:
    """Return mean and deviation over seeds of runs that differ in nothing but the seed."""
    groups: dict[tuple[str, str], list[Compared]] = {}
    for run in runs:
        others = {key: value for key, value in (run.folder.values() or {}).items() if key != "seed"}
        key = (run.result.model, json.dumps(others, sort_keys=True, default=str))
        groups.setdefault(key, []).append(run)
    found = []
    for (model, _), some in groups.items():
        seeds = [run.result.seed for run in some]
        if len(set(seeds)) == len(seeds):
            summary = summarise_seeds([run.result.scored.score for run in some])
            interval = None if summary.interval is None else list(summary.interval)
            entry = {"model": model, "seeds": seeds, "mean": summary.mean, "std": summary.std}
            found.append({**entry, "interval": interval})
    return found


def _pair(runs: Sequence[Compared], first: int, second: int) -> dict[str, Any]:
    """Return the difference of two runs: second minus first."""
    one, other = runs[first], runs[second]
    ids = [record.id for record in one.answered.records.items]
    pairs = list(zip(ids, one.right, other.right, strict=True))
    paired = None
    if one.summed is not None and other.summed is not None:
        found = paired_bootstrap(one.summed, other.summed)
        paired = {"difference": found.difference, "interval": list(found.interval), "p": found.p}
    return {
        "first": str(one.folder.path),
        "second": str(other.folder.path),
        "paired_bootstrap": paired,
        "only_first_right": [number for number, a, b in pairs if a and not b],
        "only_second_right": [number for number, a, b in pairs if b and not a],
    }


def _say(content: dict[str, Any], console: Console) -> None:
    """Print the runs, then each pair of them."""
    metric, examples = content["metric"], content["examples"]
    console.result(f"{content['task']} · {content['split']} · {metric} · {examples:,} records")
    rows = [
        [
            number,
            one["run"],
            one["model"],
            one["seed"],
            f"{one['score']:.2f}",
            "[{:.2f}, {:.2f}]".format(*one["confidence_interval"]),
        ]
        for number, one in enumerate(content["runs"], start=1)
    ]
    console.table(["", "run", "model", "seed", metric, "95 %"], rows)
    for one in content["models"]:
        if one["std"] is not None:
            seeds = ", ".join(map(str, one["seeds"]))
            console.say(f"{one['model']}: {one['mean']:.2f} ± {one['std']:.2f} over seeds {seeds}")
    numbers = combinations(range(1, len(rows) + 1), 2)
    console.say("")
    lines = []
    for (first, second), one in zip(numbers, content["pairs"], strict=True):
        paired = one["paired_bootstrap"]
        words = ["not known", "", ""]
        if paired is not None:
            low, high = paired["interval"]
            words = [f"{paired['difference']:+.2f}", f"[{low:+.2f}, {high:+.2f}]", f"{paired['p']:.4f}"]
        lines.append(
            [f"{second} - {first}", *words, len(one["only_second_right"]), len(one["only_first_right"])]
        )
    console.table(["pair", "difference", "95 %", "p", "only this right", "only that right"], lines)
    console.say("p: paired bootstrap over the same records, two-sided; it ignores variation between seeds")
