"""``clue probe``: the average-loss theorem of SGD, demonstrated on real records where its assumptions hold.

In: a task, where its data is, schedules. Out: a folder with the curves, one page, one sheet of charts.
Knows nothing about argv, or about how a step is computed.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from clue_runner.adapters.base import load_adapter
from clue_runner.commands.baselines.baseline import labelled, require_labels
from clue_runner.commands.baselines.linear import NGRAMS, Ngrams, Texts
from clue_runner.commands.train import TrainRequest, resolve
from clue_runner.config.schema import Run
from clue_runner.config.shipped import clue_home
from clue_runner.console import Console, duration
from clue_runner.data.cards import Card, find_card
from clue_runner.data.locate import locate
from clue_runner.data.records import Records
from clue_runner.engines.devices import Backend, choose_device, set_backend
from clue_runner.engines.quiet import chatter_to
from clue_runner.errors import UsageError, unknown_name
from clue_runner.files.atomic import json_bytes, make_folder, write_atomic, write_json
from clue_runner.files.names import user_path
from clue_runner.probe.best import TOLERANCE, Best, best_point
from clue_runner.probe.descent import descend
from clue_runner.probe.findings import Findings, compare
from clue_runner.probe.frozen import frozen_features
from clue_runner.probe.page import probe_page, probe_sheet
from clue_runner.probe.problem import GRADIENT, WIDTH, Problem, batches, centred, fold
from clue_runner.probe.schedules import USUAL, Schedule, parse_schedule
from clue_runner.reports.words import Language, default_language
from clue_runner.runs.identity import RANDOM
from clue_runner.runs.machine import package_versions
from clue_runner.training.lenders import require_train

SCHEMA = 1
NGRAM_FEATURES = "ngrams"  # in place of a model
POOLINGS = ("mean", "pooler", "first", "max")  # of an encoder's vectors; the first is the default
RADII = (1e-3, 1e4)
FILE, PAGE, SHEET = "probe.json", "report.html", "regret.svg"


@dataclass(frozen=True)
class ProbeRequest:
    """The options of ``clue probe``, named as on the command line."""

    task: str
    features: str = NGRAM_FEATURES
    pooling: str | None = None
    schedules: Sequence[str] = ()
    steps: int = 2_000
    batch_size: int = 32
    radius: float = 10.0
    seed: int = 42
    data: str | None = None
    backend: Backend = "tensorflow"
    language: Language | None = None
    output: Path | None = None


def fulfil(request: ProbeRequest, console: Console) -> dict[str, Any]:
    """Train under each schedule, compare with the theorem, write it all; return what ``probe.json`` holds.

    Raises:
        UsageError: an unknown task or one without a label per text, impossible schedules or numbers.
        DataError: missing or broken data. CheckpointError: a model whose vectors cannot be had.
    """
    schedules = _schedules(request)
    card = find_card(request.task)
    require_train(card)
    require_labels(card, "the probe")
    run = _run(request)
    set_backend(request.backend)
    source = locate(card, request.data, say=console.say)
    train = load_adapter(card).read(source, "train")
    texts, labels = labelled(train)
    with chatter_to(clue_home() / "logs" / f"{request.backend}-start.log"):
        device = choose_device(request.backend, "auto")
    began = time.monotonic()
    rows, features = _features(card, run, train, texts, console)
    problem = _problem(request, rows, labels)
    console.say(
        f"{card.name}: {len(texts):,} train records, {problem.classes} labels, "
        f"{_words(features)} in {features['columns']:,} columns, {request.backend} on {device.text}"
    )
    best = best_point(problem)
    seconds = {"best": time.monotonic() - began}
    if best.gap > TOLERANCE:
        console.warn(f"the best fixed point is known only to within {best.gap:.2g}")
    began = time.monotonic()
    findings = [_walk(problem, best, schedule, console) for schedule in schedules]
    seconds["steps"] = time.monotonic() - began
    result = {
        "schema": SCHEMA,
        "ok": True,
        "task": card.name,
        "card_version": card.version,
        "data_complete": not source.is_sample and train.complete,
        **_settings(request, problem, features),
        "best": {"loss": best.loss, "norm": best.norm, "gap": best.gap, "certified": best.gap <= TOLERANCE},
        "schedules": [one.summary() for one in findings],
        "seconds": {name: round(value, 3) for name, value in seconds.items()},
        "data_sha256": {"train": train.sha256},
    }
    home = Path("runs") / card.name / ("probe-sample" if source.is_sample else "probe")
    home = user_path(request.output) if request.output is not None else home
    _write(home, result, findings, request.language or default_language())
    _say(result, home, sum(seconds.values()), console)
    console.event({"event": "result", **result})
    return result


def _run(request: ProbeRequest) -> Run | None:
    """Return the settings of the encoder whose vectors are the features; None for n-grams.

    Raises:
        UsageError: an unknown model, or a pooling without one.
        CheckpointError: a published model without a checkpoint on this machine.
    """
    if request.pooling is not None and request.pooling not in POOLINGS:
        raise unknown_name(
            "pooling", request.pooling, POOLINGS, list_command="clue probe --help", where="--pooling"
        )
    if request.features == NGRAM_FEATURES:
        if request.pooling is not None:
            raise UsageError(
                "n-grams are not pooled", where="--pooling", next_step="name a model too: --features MODEL"
            )
        return None
    # float32: vectors of both backends agree, and the bound is not a matter of their rounding
    settings = [f"model.pooling={request.pooling or POOLINGS[0]}", "train.precision=float32"]
    wanted = TrainRequest(request.task, request.features, set=settings, seed=request.seed)
    return resolve(replace(wanted, backend=request.backend))[1]


def _features(
    card: Card, run: Run | None, train: Records[Any], texts: Texts, console: Console
) -> tuple[Any, dict[str, Any]]:
    """Return a row of norm 1 for each labelled text, and what they are, for ``probe.json``."""
    if run is None:
        return fold(Ngrams().fit(texts)), {"kind": "ngrams", "ngrams": list(NGRAMS), "columns": WIDTH}
    with console.progress(len(train), run.model.name) as progress:
        found = frozen_features(load_adapter(card, run), train, console.warn, progress.update)
    rows = centred(found.vectors[np.array([record.label is not None for record in train.items])])
    return rows, {**found.facts, "columns": rows.shape[1]}


def _words(features: Mapping[str, Any]) -> str:
    """Return what the features are, in words."""
    if features["kind"] == "ngrams":
        return "character n-grams"
    weights = "random weights" if features["weights"] == RANDOM else "frozen"
    return f"vectors of {features['model']} ({weights}, {features['pooling']})"


def _problem(request: ProbeRequest, rows: Any, labels: Sequence[str]) -> Problem:
    """Return the learning problem that rows and labels pose."""
    names, places = np.unique(labels, return_inverse=True)
    return Problem(
        rows,
        places.astype(np.int64),
        len(names),
        request.radius,
        batches(len(labels), request.steps, request.batch_size, request.seed),
    )


def _settings(request: ProbeRequest, problem: Problem, features: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that say what was computed, and with what."""
    return {
        "records": len(problem.labels),
        "classes": problem.classes,
        "features": dict(features),
        "steps": request.steps,
        "batch_size": request.batch_size,
        "radius": request.radius,
        "seed": request.seed,
        "backend": request.backend,
        "precision": "float32 steps, float64 sums and best point",
        "D": problem.diameter,
        "G": GRADIENT,
        "versions": {
            **package_versions(request.backend),
            **{name: version(name) for name in ("scipy", "scikit-learn")},
        },
    }


def _schedules(request: ProbeRequest) -> list[Schedule]:
    """Return the schedules to train under.

    Raises:
        UsageError: an impossible schedule, number of steps or radius.
    """
    for option, number in (("--steps", request.steps), ("--batch-size", request.batch_size)):
        if number < 1:
            raise UsageError("at least 1 is needed", where=option, received=str(number))
    if not RADII[0] <= request.radius <= RADII[1]:  # refuses NaN too
        raise UsageError(
            f"a radius lies between {RADII[0]:g} and {RADII[1]:g}",
            where="--radius",
            received=f"{request.radius:g}",
        )
    schedules = [parse_schedule(text) for text in request.schedules or USUAL]
    if len({one.text for one in schedules}) < len(schedules):
        raise UsageError(
            "a schedule is named twice", where="--schedule", received=", ".join(one.text for one in schedules)
        )
    return schedules


def _walk(problem: Problem, best: Best, schedule: Schedule, console: Console) -> Findings:
    """Return one schedule's curves; warn where the theorem seems violated, which would be our bug."""
    steps = len(problem.batches)
    sizes = schedule.sizes(steps, problem.diameter, GRADIENT)
    with console.progress(steps, schedule.text) as progress:
        found = compare(problem, best, schedule, sizes, descend(problem, sizes, progress.update))
    if not found.holds:
        console.warn(f"{schedule.text}: the regret is above the bound")
    return found


def _write(home: Path, result: dict[str, Any], findings: Sequence[Findings], language: Language) -> None:
    """Write one file of steps per schedule, the plots, the page, and last the result."""
    make_folder(home / "steps")
    for one in findings:
        rows = b"".join(json_bytes(row) for row in one.lines())
        write_atomic(home / "steps" / f"{one.schedule.file_name}.jsonl", rows)
    write_atomic(home / SHEET, probe_sheet(result, findings, language).encode())
    write_atomic(home / PAGE, probe_page(result, findings, language).encode())
    write_json(home / FILE, result)


def _say(result: dict[str, Any], home: Path, seconds: float, console: Console) -> None:
    """Print one row per schedule, and where the files are."""
    best = result["best"]
    console.result(
        f"{result['task']} · projected SGD · {result['steps']:,} steps of {result['batch_size']} · "
        f"D {result['D']:g} · G {result['G']:.4f} · "
        f"best fixed point {best['loss']:.4f} (to {best['gap']:.0e}) · {duration(seconds)}"
    )
    rows = [
        [
            one["schedule"],
            f"{one['average_loss']:.4f}",
            f"{one['regret']:.4g}",
            f"{one['bound']:.4g}",
            *("-" if one[name] is None else f"{one[name]:.2f}" for name in ("slope_regret", "slope_bound")),
            _verdict(one),
        ]
        for one in result["schedules"]
    ]
    if not console.quiet:
        console.table(["schedule", "average loss", "regret", "bound", "slope", "bound's slope", ""], rows)
    console.say(f"  page       {home / PAGE}")
    console.say(f"  plot       {home / SHEET}")


def _verdict(summary: dict[str, Any]) -> str:
    """Return the last cell of a row."""
    if not summary["holds"]:
        return "above the bound"
    return "bound vacuous" if summary["bound_vacuous"] else "under the bound at every step"
