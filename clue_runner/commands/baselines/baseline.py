"""``clue baseline``: how well a linear model over character n-grams does on a task.

In: a task, where its data is. Out: the dev score beside chance and published ones, a folder with the answers.
Knows nothing about argv, or about how the model is made.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from clue_runner.adapters.base import Prediction, Scores, load_adapter
from clue_runner.commands.baselines.linear import LinearModel
from clue_runner.console import Console, duration
from clue_runner.data.cards import Card, all_cards, find_card
from clue_runner.data.kinds import all_kinds
from clue_runner.data.locate import locate
from clue_runner.data.records import Records, TextRecord
from clue_runner.errors import DataError, UsageError
from clue_runner.files.atomic import make_folder, write_json
from clue_runner.files.names import user_path
from clue_runner.reports.baseline import FILE, NAME
from clue_runner.runs.folder import RunFolder
from clue_runner.training.answers import write_predictions
from clue_runner.training.display import published_lines
from clue_runner.training.lenders import require_train

SCHEMA = 1


@dataclass(frozen=True)
class BaselineRequest:
    """The options of ``clue baseline``, named as on the command line."""

    task: str
    data: str | None = None
    output: Path | None = None


def fulfil(request: BaselineRequest, console: Console) -> dict[str, Any]:
    """Fit on train, score on dev, write both; return the content of ``baseline.json``.

    Raises:
        UsageError: an unknown task, or one without a label for each text.
        DataError: missing or broken data.
    """
    card = find_card(request.task)
    require_train(card)
    require_labels(card, "the linear baseline")
    source = locate(card, request.data, say=console.say)
    adapter = load_adapter(card)
    began = time.monotonic()
    train, dev = adapter.read(source, "train"), adapter.read(source, "dev")
    model, seconds = LinearModel(), {"read": time.monotonic() - began}
    console.say(f"{card.name}: {len(train):,} train records, character n-grams")
    texts, labels = labelled(train)
    began = time.monotonic()
    model.fit(texts, labels)
    seconds["train"], began = time.monotonic() - began, time.monotonic()
    answers = model.predict([record.texts for record in dev.items])
    seconds["evaluate"] = time.monotonic() - began
    predictions = [Prediction(record.id, label) for record, label in zip(dev.items, answers, strict=True)]
    scores = adapter.score(predictions, dev)
    complete = not source.is_sample and train.complete and dev.complete
    home = RunFolder(
        user_path(request.output)
        if request.output is not None
        else Path("runs") / card.name / (f"{NAME}-sample" if source.is_sample else NAME)
    )
    result = {
        **_scored(card, scores),
        "data_complete": complete,
        "settings": model.settings,
        "seconds": {name: round(value, 3) for name, value in seconds.items()},
        "data_sha256": {"train": train.sha256, "dev": dev.sha256},
        "versions": {name: version(name) for name in ("scikit-learn", "scipy", "numpy")},
    }
    make_folder(home.path)
    write_predictions(home.predictions / "dev.jsonl", predictions, probabilities=False)
    write_json(home.path / FILE, result)
    _say(console, card, scores, sum(seconds.values()), home.path, complete=complete)
    console.event({"event": "result", **result})
    return result


def require_labels(card: Card, what: str) -> None:
    """Refuse a task whose texts do not have one label each; ``what`` needs them.

    Raises:
        UsageError: it is of another kind; names the suitable tasks.
    """
    kinds = all_kinds()

    def fits(kind: str) -> bool:
        return kinds[kind].labels > 1 and bool(kinds[kind].texts)

    if not fits(card.adapter):
        names = [one.name for one in all_cards().values() if fits(one.adapter) and "train" in one.splits]
        raise UsageError(
            f"{what} takes tasks with one label per text or pair, and this is not one",
            received=f"{card.name} ({card.adapter})",
            allowed=", ".join(names),
            next_step="compare with the chance score that clue train prints",
        )


def labelled(records: Records[TextRecord]) -> tuple[list[tuple[str, ...]], list[str]]:
    """Return texts and labels.

    Raises:
        DataError: fewer than two labels occur, so there is nothing to classify.
    """
    pairs = [(record.texts, record.label) for record in records.items if record.label is not None]
    labels = [label for _, label in pairs]
    if len(set(labels)) < 2:
        raise DataError(
            "nothing to classify: fewer than two labels occur",
            where=records.path or records.file,
            received=", ".join(sorted(set(labels))) or "none",
        )
    return [texts for texts, _ in pairs], labels


def _scored(card: Card, scores: Scores) -> dict[str, Any]:
    """Return the fields that say what was scored."""
    return {
        "schema": SCHEMA,
        "ok": True,
        "task": card.name,
        "card_version": card.version,
        "model": NAME,
        "split": "dev",
        "metric": scores.main,
        "score": scores.score,
        "scores": dict(scores.values),
        "confidence_interval": list(scores.confidence_interval),
        "chance": scores.chance,
        "examples": scores.examples,
    }


def _say(console: Console, card: Card, scores: Scores, seconds: float, home: Path, *, complete: bool) -> None:
    """Print the score beside chance and published ones."""
    low, high = scores.confidence_interval
    console.result(
        f"{card.name} · dev · linear baseline\n"
        f"  {scores.main}  {scores.score:.2f}   [{low:.2f}, {high:.2f}] 95 %   "
        f"chance {scores.chance:.2f}   {scores.examples:,} examples   {duration(seconds)}"
    )
    lines: Sequence[str] = published_lines(card) if complete else ()
    if not complete:
        console.say("  not comparable with published scores: sample, partial or other data than the card's")
    for line in lines:
        console.say(f"  published  {line}")
    console.say(f"  results    {home / FILE}")
