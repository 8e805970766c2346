"""What a run found: ``metrics.json`` and the block of text at its end.

In: scores, progress, clocks, hashes. Out: one mapping of fixed fields (schema 1), scores in percent.
Knows nothing about how training was done.
"""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from clue_runner.adapters.base import Scores
from clue_runner.config.loader import config_hash
from clue_runner.config.schema import Run
from clue_runner.console import Console, duration
from clue_runner.data.cards import Card
from clue_runner.errors import ClueError
from clue_runner.runs.progress import Progress

SCHEMA = 1
SECONDS = ("prepare", "compile", "train", "evaluate", "predict", "total")


def base_metrics(
    run: Run, card: Card, *, versions: Mapping[str, str], data_sha256: Mapping[str, str]
) -> dict[str, Any]:
    """Return the fields that are known before anything has run, the others empty."""
    return {
        "schema": SCHEMA,
        "ok": False,
        "task": card.name,
        "card_version": card.version,
        "model": run.model.name,
        "init": run.model.init,
        "seed": run.seed,
        "batch_size": run.train.batch_size,
        "split": "dev",
        "metric": card.metric,
        "score": None,
        "scores": {},
        "confidence_interval": None,
        "chance": None,
        "examples": None,
        "data_complete": None,
        "backend": run.backend,
        "device": None,
        "precision": None,
        "epochs": None,
        "steps": None,
        "seconds": {},
        "examples_per_second": {},
        "padding_share": None,
        "peak_memory_bytes": None,
        "data_sha256": dict(data_sha256),
        "config_sha256": config_hash(run),
        "commit": commit(),
        "versions": dict(versions),
        "submission": None,
    }


def score_metrics(scores: Scores, progress: Progress) -> dict[str, Any]:
    """Return the fields that the best dev evaluation fills."""
    return {
        "ok": True,
        "score": scores.score,
        "scores": dict(scores.values),
        "confidence_interval": list(scores.confidence_interval),
        "chance": scores.chance,
        "examples": scores.examples,
        "epochs": progress.history[-1]["epoch"] if progress.history else 0,
        "steps": progress.step,
        "best_step": progress.best_step,
        "best_epoch": progress.best_epoch,
        "ended": progress.ended,
        "history": progress.history,
    }


def failure_metrics(error: Exception) -> dict[str, Any]:
    """Return the fields of a run that failed: no score, the reason."""
    code = error.exit_code if isinstance(error, ClueError) else 1
    return {"ok": False, "error": {"type": type(error).__name__, "message": str(error), "exit_code": code}}


def seconds_spent(progress: Progress, prepare: float, total: float) -> dict[str, float]:
    """Return the clock readings, all sittings together where they were saved."""
    spent = {**progress.seconds, "prepare": prepare, "total": total}
    return {name: round(max(spent.get(name, 0.0), 0.0), 3) for name in SECONDS}


def padding_share(progress: Progress) -> float | None:
    """Return the share of computed train tokens that were padding."""
    if not progress.computed_tokens:
        return None
    return round(1 - progress.real_tokens / progress.computed_tokens, 4)


def peak_memory_bytes() -> int:
    """Return the most memory that this process has held."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # macOS counts bytes, Linux kibibytes


def commit() -> str | None:
    """Return the commit of this project's working tree; None where it was installed from a wheel."""
    home = Path(__file__).resolve().parents[2]
    if not (home / ".git").exists():
        return None
    try:
        found = subprocess.run(
            ["git", "-C", str(home), "rev-parse", "HEAD"],
            capture_output=True,
            text=True,
            timeout=5,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip() or None


def show_results(console: Console, metrics: Mapping[str, Any], card: Card, folder: Path) -> None:
    """Print the score beside chance and published ones, then where everything is."""
    low, high = metrics["confidence_interval"]
    console.say("")
    console.say(f"{metrics['task']} · {metrics['split']} · {metrics['model']} · seed {metrics['seed']}")
    console.say(
        f"  {metrics['metric']}  {metrics['score']:.2f}   [{low:.1f}, {high:.1f}] 95 %   "
        f"chance {metrics['chance']:.1f}   {metrics['examples']:,} examples"
    )
    others = [
        f"{name} {value:.2f}"
        for name, value in metrics["scores"].items()
        if name != metrics["metric"] and "/" not in name
    ]
    if others:
        console.say(f"  beside it  {'   '.join(others)}")
    if not metrics["data_complete"]:
        console.say("  not comparable with published scores: a sample, a part, or not the card's data")
    for line in published_lines(card):
        console.say(f"  published  {line}")
    total = metrics["seconds"].get("total", 0.0)
    console.say(
        f"  best at epoch {metrics['best_epoch']}, step {metrics['best_step']} of {metrics['steps']}; "
        f"{duration(total)}"
    )
    if card.submissions:
        _show_submissions(console, metrics["submission"], folder)
    else:
        console.say("  submission none: no leaderboard takes this task")
    console.say(f"  results    {folder / 'metrics.json'}")


def published_lines(card: Card, limit: int = 4) -> list[str]:
    """Return published scores, each with its split and source."""
    return [f"{one.model} {one.split} {one.score:.2f} ({one.source})" for one in card.published[:limit]]


def _show_submissions(console: Console, submission: Mapping[str, Any] | None, folder: Path) -> None:
    """Print which files can be sent, and the zip where one was packed."""
    if submission is None:
        console.say("  submission none: there is no test file")
        return
    files: Sequence[Mapping[str, Any]] = submission["files"]
    for one in files:
        verdict = "accepted by clue submit check" if one["ok"] else f"not accepted: {one['problems'][0]}"
        console.say(f"  submission {folder / one['file']}   {one['lines']:,} lines, {verdict}")
    if submission.get("zip"):
        console.say(f"  packed     {folder / submission['zip']}   {submission['note']}")
