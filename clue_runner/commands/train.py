"""``clue train``: from the request to results: card, settings, data, folders, seeds.

In: the command's options as plain values. Out: results, the same for a shell and for a Python call.
Knows nothing about argv, or about how a run is done.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clue_runner.adapters.fitting import require_droppable, require_family, require_preset_family
from clue_runner.adapters.sections import SECTIONS, load_run, refuse_bad_settings
from clue_runner.checkpoints.importer import read_settings
from clue_runner.commands.dry_run import show_plan
from clue_runner.commands.repeat import data_of, task_of
from clue_runner.commands.train_run import train_run
from clue_runner.config.loader import require_checkpoint
from clue_runner.config.schema import Run
from clue_runner.console import Console
from clue_runner.data.cards import Card, all_cards, find_card, recommended_settings
from clue_runner.data.locate import locate
from clue_runner.data.sources import DataSource
from clue_runner.errors import ScoreTooLowError, UsageError
from clue_runner.files.atomic import write_json
from clue_runner.files.names import absolute_path, name_fault, user_path
from clue_runner.memory.batch_size import as_begun
from clue_runner.metrics.significance import summarise_seeds
from clue_runner.runs.folder import seed_folder
from clue_runner.runs.results import SCHEMA, RunResult
from clue_runner.training.lenders import require_train

SUMMARY = "summary.json"


@dataclass(frozen=True)
class TrainRequest:
    """The options of ``clue train``, named as on the command line."""

    task: str | None = None
    model: str | None = None
    config: Sequence[str] = ()
    set: Sequence[str] = ()
    data: str | None = None
    output: Path | None = None
    name: str | None = None
    seed: int | None = None
    seeds: int | None = None
    backend: str | None = None
    device: str | None = None
    fresh: bool = False
    fail_under: float | None = None
    dry_run: bool = False


def fulfil(request: TrainRequest, console: Console) -> dict[str, Any]:
    """Train as requested; return what ``metrics.json`` holds, or the summary of several seeds.

    Raises:
        ClueError: every user mistake; ``ScoreTooLowError`` after everything is written.
    """
    _refuse_contradictions(request)
    card, run = resolve(request)
    if request.seeds is not None and run.seed + request.seeds > 2**31:
        raise UsageError(
            "the last seed is too large",
            where="--seeds",
            received=f"{request.seeds} from seed {run.seed}",
            allowed=f"seeds below {2**31}",
            next_step="start with a smaller --set seed=N",
        )
    given = request.data or data_of(request.config)
    source = locate(card, given, say=console.say)
    output = user_path(request.output) if request.output else default_output(request, card, run, source)
    # The first line is printed before the first slow import, so that the user sees that something happens.
    console.event({"event": "prepare", "schema": SCHEMA, "task": card.name, "model": run.model.name})
    if request.dry_run:
        return show_plan(run, card, source, output, console, seeds=request.seeds, fresh=request.fresh)
    data = _remembered(given)
    if request.seeds is None:
        result = train_run(run, card, source, output, console, fresh=request.fresh, data_argument=data)
        _refuse_low_score(result.scored.score, request.fail_under)
        return result.to_json()
    results: list[RunResult] = []
    for number in range(request.seeds):
        one = run.model_copy(update={"seed": run.seed + number})
        first = seed_folder(output, run.seed).run(SECTIONS) if results else None
        if first is not None and one.train.batch_size == "auto":  # runs differ in the seed alone
            one = as_begun(one, first).run
        folder = seed_folder(output, one.seed).path
        console.beside = {"seed": one.seed}
        results.append(train_run(one, card, source, folder, console, fresh=request.fresh, data_argument=data))
    console.beside = {}
    summary = summarise(results)
    write_json(output / SUMMARY, summary)
    console.say(
        f"\n{card.name} · {len(results)} seeds · {summary['metric']} "
        f"{summary['mean']:.2f} ± {summary['std']:.2f} (standard deviation over seeds)   {output / SUMMARY}"
    )
    console.event({"event": "result", **summary})
    _refuse_low_score(summary["mean"], request.fail_under)
    return summary


def resolve(
    request: TrainRequest, *, weights_needed: bool = True, fitting_needed: bool = True
) -> tuple[Card, Run]:
    """Return the card and the settings.

    Args:
        request: the options.
        weights_needed: a published model's checkpoint must be on this machine.
        fitting_needed: settings that the task cannot use are refused; False: the caller does that.

    Raises:
        UsageError: an unknown task, model or setting; all problems of the settings at once.
        CheckpointError: a published model without a checkpoint on this machine.
    """
    card = find_card(request.task or task_of(request.config))
    if not card.ships:  # shipped cards were checked before, in every family; this costs a quarter of a second
        refuse_bad_settings(card)
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
    require_family(card, run.model.name, run.model.family)
    if fitting_needed:
        require_droppable(card, run)
    if weights_needed:
        require_checkpoint(run)
    return card, run


def task_name(card: Card) -> str:
    """Return what ``run.yaml`` calls a task: a shipped one by name, another by its folder."""
    shipped = all_cards().get(card.name)
    return card.name if shipped is not None and shipped.folder == card.folder else str(card.folder)


def default_output(request: TrainRequest, card: Card, run: Run, source: DataSource) -> Path:
    """Return ``runs/<task>/<model>-<seed>``, ``-sample`` added for sample data; ``--name`` is the last part.

    The seed is left out where the folder holds several seeds.
    """
    name = run.model.name if request.seeds is not None else f"{run.model.name}-{run.seed}"
    last = request.name or (f"{name}-sample" if source.is_sample else name)
    return Path("runs") / card.name / last


def summarise(results: Sequence[RunResult]) -> dict[str, Any]:
    """Return mean, standard deviation and bootstrap interval over seeds; the deviation of one run is 0."""
    scores = [result.scored.score for result in results]
    summary = summarise_seeds(scores)
    first = results[0]
    return {
        "schema": first.schema_,
        "ok": True,
        "task": first.task,
        "card_version": first.card_version,
        "model": first.model,
        "split": first.split,
        "metric": first.metric,
        "seeds": [result.seed for result in results],
        "values": scores,
        "mean": summary.mean,
        "std": summary.std or 0.0,
        "confidence_interval": None if summary.interval is None else list(summary.interval),
        "chance": first.chance,
        "data_complete": first.data_complete,
    }


def _refuse_contradictions(request: TrainRequest) -> None:
    """Refuse options that are allowed on their own but not together, or that no run can meet."""
    if request.seeds is not None and request.seed is not None:
        raise UsageError("--seed and --seeds exclude each other", next_step="give one of them")
    keys = [text.partition("=")[0].strip() for text in request.set]
    repeated = sorted({key for key in keys if keys.count(key) > 1})
    if repeated:
        raise UsageError(f"{', '.join(repeated)} is set twice", where="--set", next_step="give each key once")
    if request.output is not None and request.name is not None:
        raise UsageError("--output and --name exclude each other", next_step="give one of them")
    if request.fail_under is not None and not math.isfinite(request.fail_under):
        raise UsageError("--fail-under is not a score", received=str(request.fail_under), allowed="percent")
    if request.name is not None and (fault := name_fault(request.name)):
        raise UsageError(
            f"the name becomes a folder under runs/<task>/: {fault}",
            where="--name",
            received=request.name,
            next_step="give a path with --output",
        )


def _remembered(data: str | None) -> str | None:
    """Return ``--data`` as a later command in another folder understands it."""
    return data if data is None or data == "sample" else str(absolute_path(data))


def _refuse_low_score(score: float, fail_under: float | None) -> None:
    """Fail after everything is written."""
    if fail_under is not None and score < fail_under:
        raise ScoreTooLowError(
            "the score is under --fail-under",
            received=f"{score:.2f}",
            allowed=f"{fail_under:g} or more",
            next_step="the run is complete and its files are written",
        )
