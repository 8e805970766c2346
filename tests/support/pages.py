"""Run folders as a finished run leaves them, without training: answers are made from the gold ones."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from clue_runner.adapters.base import Adapter, Prediction, load_adapter
from clue_runner.adapters.sections import SECTIONS, load_run
from clue_runner.data.cards import find_card, recommended_settings
from clue_runner.data.locate import locate
from clue_runner.data.records import (
    ChoiceRecord,
    ClozeRecord,
    EntityRecord,
    PassagesRecord,
    ReadingRecord,
    Records,
    TextRecord,
)
from clue_runner.runs.folder import RunFolder, write_settings
from clue_runner.runs.results import RunResult, write_result
from clue_runner.training.answers import write_predictions

KINDS = ("afqmc", "tnews", "cluener", "cmrc2018", "c3", "chid", "webqa")
Change = Callable[[int, Prediction], Prediction]


def gold_prediction(record: Any) -> Prediction:
    """The right answer in the form that the kind's predictions have."""
    if isinstance(record, TextRecord):
        return Prediction(record.id, record.label, 0.9)
    if isinstance(record, ChoiceRecord):
        return Prediction(record.id, record.answer, 0.9)
    if isinstance(record, ClozeRecord):
        return Prediction(record.id, dict(zip(record.tags, record.answers or (), strict=True)), 0.9)
    if isinstance(record, ReadingRecord):
        return Prediction(record.id, record.references[0], 0.9)
    if isinstance(record, PassagesRecord):
        return Prediction(record.id, (record.answers or ("",))[0], 0.9)
    assert isinstance(record, EntityRecord)
    label: dict[str, dict[str, list[list[int]]]] = {}
    for one in record.entities or ():
        label.setdefault(one.type, {}).setdefault(one.surface, []).append([one.start, one.end])
    return Prediction(record.id, label)


def shifted(predictions: list[Prediction], every: int = 3) -> list[Prediction]:
    """Every third record gets the answer of the next one, where that is an answer to it too."""
    found = []
    for place, one in enumerate(predictions):
        other = predictions[(place + 1) % len(predictions)]
        found.append(Prediction(one.id, other.prediction, 0.6) if place % every == 0 else one)
    return found


def answers_of(adapter: Adapter, records: Records[Any]) -> list[Prediction]:
    """Right and wrong answers to records of any kind."""
    gold = [gold_prediction(record) for record in records.items]
    first = records.items[0]
    if isinstance(first, ClozeRecord):

        def other(record: Any, one: Prediction) -> Any:
            return {tag: (index + 1) % len(record.candidates) for tag, index in one.prediction.items()}

    elif isinstance(first, ChoiceRecord):

        def other(record: Any, one: Prediction) -> Any:
            return (one.prediction + 1) % len(record.choices)

    elif isinstance(first, EntityRecord):

        def other(record: Any, one: Prediction) -> Any:
            return {}

    else:
        return shifted(gold)
    chance = None if isinstance(first, EntityRecord) else 0.6
    return [
        Prediction(one.id, other(record, one), chance) if place % 3 == 0 else one
        for place, (record, one) in enumerate(zip(records.items, gold, strict=True))
    ]


def make_run(
    path: Path, task: str, *, seed: int = 42, change: Change | None = None, model: str = "test"
) -> RunFolder:
    """A finished run of a task on its sample records."""
    card = find_card(task)
    own = "dgcnn" if task == "webqa" else model
    flags = {"seed": seed, "backend": "tensorflow"}
    run = load_run(task=task, card_settings=recommended_settings(card), model=own, flags=flags)
    adapter = load_adapter(card, run)
    records = adapter.read(locate(card, "sample"), "dev")
    predictions = answers_of(adapter, records)
    if change is not None:
        predictions = [change(place, one) for place, one in enumerate(predictions)]
    scores = adapter.score(predictions, records)
    folder = RunFolder(path)
    path.mkdir(parents=True)
    write_settings(folder, run, SECTIONS)
    write_predictions(folder.predictions / "dev.jsonl", predictions, probabilities=True)
    rates = {"learning_rate": 1e-4, "gradient_norm": 1.0}
    scored = {"scores": {}, "loss": 0.5, "best": True}
    events: list[dict[str, object]] = [
        {"event": "start", "task": task, "seed": seed, "data": "sample"},
        {"event": "step", "step": 1, "epoch": 1, "loss": 0.9, **rates},
        {"event": "evaluate", "step": 1, "epoch": 1, "score": 10.0, **scored},
        {"event": "step", "step": 9, "epoch": 1, "loss": 0.5, **rates},
        {"event": "evaluate", "step": 9, "epoch": 2, "score": 60.0, **scored},
        {"event": "warning", "message": "dev: 3 texts <cut>"},
    ]
    folder.events.write_text(
        "".join(json.dumps({"schema": 2, **one}) + "\n" for one in events), encoding="utf-8"
    )
    write_result(folder.metrics, result_of(task, card.version, own, seed, scores, records.sha256))
    return folder


def result_of(task: str, version: str, model: str, seed: int, scores: Any, sha256: str) -> RunResult:
    """The result of a run that ended with these scores."""
    return RunResult.model_validate(
        {
            "ok": True,
            "task": task,
            "card_version": version,
            "model": model,
            "checkpoint": None,
            "init": None,
            "seed": seed,
            "batch_size": 16,
            "split": "dev",
            "metric": scores.main,
            "score": scores.score,
            "scores": dict(scores.values),
            "confidence_interval": list(scores.confidence_interval),
            "chance": scores.chance,
            "examples": scores.examples,
            "data_complete": False,
            "notes": {"dev": {"cut to 128 tokens": 3}},
            "backend": "tensorflow",
            "device": "CPU",
            "precision": "float32",
            "epochs": 2,
            "steps": 9,
            "best_step": 9,
            "best_epoch": 2,
            "ended": "epochs",
            "seconds": {"train": 1.5, "total": 2.0},
            "examples_per_second": {"train": 99.0},
            "padding_share": 0.25,
            "peak_memory_bytes": 2**30,
            "data_sha256": {"dev": sha256},
            "config_sha256": "0" * 64,
            "commit": None,
            "versions": {"keras": "3"},
        }
    )


def suite_table() -> dict[str, Any]:
    """What ``clue bench collect`` writes of two models, two tasks and two seeds, one item failed."""

    def cell(model: str, task: str, values: list[float], **more: Any) -> dict[str, Any]:
        mean = sum(values) / len(values) if values else None
        seeds = list(range(len(values)))
        return {"model": model, "task": task, "metric": "accuracy", "seeds": seeds, "values": values,
                "planned": 2, "mean": mean, "std": None, "chance": 50.0, "chosen": None, "best_of_grid": None,
                "published": [{"model": "BERT-base", "split": "dev", "score": 74.16, "source": "README <b>"}],
                **more}  # fmt: skip

    row = {"stage": "score", "backend": "tensorflow", "precision": "float32", "settings": {}}
    return {
        "schema": 1,
        "suite": "two",
        "title": "Two <models>",
        "models": ["small", "large"],
        "tasks": ["afqmc", "tnews"],
        "titles": {"en": {"afqmc": "Questions"}, "zh": {"afqmc": "\u8bed\u4e49\u76f8\u4f3c\u5ea6"}},
        "sample": True,
        "rows": [
            {**row, "id": "a", "model": "small", "task": "afqmc", "seed": 0, "state": "ok", "score": 70.0},
            {**row, "id": "b", "model": "large", "task": "tnews", "seed": 1, "state": "failed",
             "reason": "out of memory <here>", "exit_code": 7},
        ],
        "cells": [
            cell("small", "afqmc", [70.0, 72.0]),
            cell("large", "afqmc", [74.0, 77.0], chosen={"train.learning_rate": 2e-5}, best_of_grid=78.5),
            cell("small", "tnews", [50.0, 51.0]),
            cell("large", "tnews", [55.0]),
        ],
        "averages": [
            {"model": "small", "mean": 60.75, "tasks": ["afqmc", "tnews"], "missing": []},
            {"model": "large", "mean": None, "tasks": ["afqmc", "tnews"], "missing": ["tnews"]},
        ],
        "gates": [{"model": "small", "task": "afqmc", "minimum": 72.0, "mean": 71.0, "passed": False}],
        "pairs": [{"first": "small", "second": "large", "tasks": ["afqmc"], "difference": 4.5,
                   "interval": [0.4, 8.6], "p": 0.0312, "reason": None}],
        "left_out": ["runs/x: another vocabulary"],
    }  # fmt: skip
