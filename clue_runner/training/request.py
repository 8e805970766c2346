"""What ``clue train`` was asked for, resolved step by step: card, settings, data, folders, seeds.

In: the command's options as plain values. Out: results, the same for a shell and for a Python call.
Knows nothing about argv, or about how a run is done.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from clue_runner.adapters.base import require_droppable, require_family, require_preset_family
from clue_runner.checkpoints.importer import read_settings
from clue_runner.config.loader import load_run, require_checkpoint
from clue_runner.config.schema import Run
from clue_runner.console import Console
from clue_runner.data.cards import Card, all_cards, find_card, recommended_settings
from clue_runner.data.locate import locate
from clue_runner.errors import ScoreTooLowError, UsageError
from clue_runner.training.auto_batch import as_begun
from clue_runner.training.borrow import require_train
from clue_runner.training.folder import seed_folder
from clue_runner.training.plan import show_plan
from clue_runner.training.run import train
from clue_runner.training.storage import write_json

SUMMARY = "summary.json"


@dataclass(frozen=True)
class TrainRequest:
    """The options of ``clue train``, named as on the command line."""

    task: str
    model: str | None = None
    config: Sequence[str] = ()
    set: Sequence[str] = ()
    data: str | None = None
    output: Path | None = None
    seed: int | None = None
    seeds: int | None = None
    backend: str | None = None
    device: str | None = None
    fresh: bool = False
    fail_under: float | None = None
    dry_run: bool = False


def fulfil(request: TrainRequest, console: Console) -> dict[str, Any]:
    """Train what was asked for; return ``metrics.json``, or the summary of several seeds.

    Raises:
        ClueError: every user mistake; ``ScoreTooLowError`` after everything is written.
    """
    card, run = resolve(request)
    if request.seeds is not None and request.seed is not None:
        raise UsageError("--seed and --seeds exclude each other", next_step="give one of them")
    source = locate(card, request.data, say=console.say)
    output = request.output or default_output(card, run, several=request.seeds is not None)
    if request.dry_run:
        return show_plan(run, card, source, output, console, seeds=request.seeds, fresh=request.fresh)
    data = _remembered(request.data)
    if request.seeds is None:
        metrics = train(run, card, source, output, console, fresh=request.fresh, data_argument=data)
        _refuse_low_score(metrics["score"], request.fail_under)
        return metrics
    results: list[dict[str, Any]] = []
    for number in range(request.seeds):
        one = run.model_copy(update={"seed": run.seed + number})
        first = seed_folder(output, run.seed).run() if results else None
        if first is not None and one.train.batch_size == "auto":  # the seeds shall differ in nothing else
            one = as_begun(one, first).run
        folder = seed_folder(output, one.seed).path
        results.append(train(one, card, source, folder, console, fresh=request.fresh, data_argument=data))
    summary = summarise(results)
    write_json(output / SUMMARY, summary)
    console.say(
        f"\n{card.name} · {len(results)} seeds · {summary['metric']} "
        f"{summary['mean']:.2f} ± {summary['std']:.2f} (standard deviation over seeds)   {output / SUMMARY}"
    )
    console.event({"event": "result", **summary})
    _refuse_low_score(summary["mean"], request.fail_under)
    return summary


def resolve(request: TrainRequest, *, weights_needed: bool = True) -> tuple[Card, Run]:
    """Return the card and the settings.

    Args:
        request: the options.
        weights_needed: a published model's checkpoint must be on this machine.

    Raises:
        UsageError: an unknown task, model or setting; all problems of the settings at once.
        CheckpointError: a published model without a checkpoint on this machine.
    """
    card = find_card(request.task)
    require_train(card)
    require_preset_family(card, request.model)
    run = load_run(
        task=task_name(card),
        card_settings=recommended_settings(card),
        model=request.model,
        configs=request.config,
        overrides=request.set,
        flags={"seed": request.seed, "backend": request.backend, "device": request.device},
        checkpoint_reader=read_settings,
    )
    require_family(card, run)
    require_droppable(card, run)
    if weights_needed:
        require_checkpoint(run)
    return card, run


def task_name(card: Card) -> str:
    """Return what ``run.yaml`` calls a task: a shipped one by name, another by its folder."""
    shipped = all_cards().get(card.name)
    return card.name if shipped is not None and shipped.folder == card.folder else str(card.folder)


def default_output(card: Card, run: Run, *, several: bool) -> Path:
    """Return ``runs/<task>/<model>-<seed>``, without the seed where several seeds lie inside."""
    name = run.model.name if several else f"{run.model.name}-{run.seed}"
    return Path("runs") / card.name / name


def summarise(results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return mean and standard deviation over seeds; the deviation of one run is 0."""
    scores = [float(one["score"]) for one in results]
    first = results[0]
    return {
        "schema": first["schema"],
        "ok": True,
        "task": first["task"],
        "card_version": first["card_version"],
        "model": first["model"],
        "split": first["split"],
        "metric": first["metric"],
        "seeds": [one["seed"] for one in results],
        "values": scores,
        "mean": fmean(scores),
        "std": stdev(scores) if len(scores) > 1 else 0.0,
        "chance": first["chance"],
        "data_complete": first["data_complete"],
    }


def _remembered(data: str | None) -> str | None:
    """Return ``--data`` as a later command in another folder understands it."""
    return data if data is None or data == "sample" else str(Path(data).expanduser().resolve())


def _refuse_low_score(score: float, fail_under: float | None) -> None:
    """Fail after everything is written."""
    if fail_under is not None and score < fail_under:
        raise ScoreTooLowError(
            "the score is under --fail-under",
            received=f"{score:.2f}",
            allowed=f"{fail_under:g} or more",
            next_step="the run is complete and its files are written",
        )
