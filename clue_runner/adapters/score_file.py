"""Score a prediction file against labelled records, for the command and for the Python call.

In: a task, a prediction file, and where the gold records are. Out: scores and how answers met records.
Knows nothing about argv, models or printing.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clue_runner.adapters.base import Prediction, Scores, load_adapter
from clue_runner.adapters.score_kits import score_kit
from clue_runner.data.cards import Card, find_card
from clue_runner.data.locate import locate
from clue_runner.data.records import Records
from clue_runner.data.sources import DataSource, FolderSource
from clue_runner.errors import DataError, Problem, UsageError
from clue_runner.submission.findings import shorten
from clue_runner.submission.predictions import Aligned, GivenAnswer, align, read_predictions
from clue_runner.submission.tables import read_table


@dataclass(frozen=True)
class ScoredFile:
    """Scores, and everything they were taken from."""

    card: Card
    source: DataSource
    records: Records[Any]
    matched_by: str
    scores: Scores

    @property
    def gold(self) -> str:
        """Return where the gold records are from."""
        return f"{self.source.label}:{self.records.file}"

    def result(self) -> dict[str, Any]:
        """Return the result event's content."""
        low, high = self.scores.confidence_interval
        return {
            "ok": True,
            "task": self.card.name,
            "metric": self.scores.main,
            "score": self.scores.score,
            "scores": dict(self.scores.values),
            "confidence_interval": [low, high],
            "chance": self.scores.chance,
            "examples": self.scores.examples,
            "matched_by": self.matched_by,
            "gold": self.gold,
        }


def score_file(
    task: str, predictions: Path, *, gold: Path | None = None, data: str | None = None
) -> ScoredFile:
    """Score ``predictions`` against dev.

    Args:
        task: a task's name or folder.
        predictions: a submission file, or ``predictions/<split>.jsonl`` of a run.
        gold: a labelled file in the official layout; None: dev of ``data``.
        data: a folder, an official zip, or ``sample``; None: where the task's data is looked for.

    Raises:
        UsageError: an unknown task, or both ``gold`` and ``data``.
        DataError: a missing or broken file, answers that do not fit the records or the labels.
    """
    if gold is not None and data is not None:
        raise UsageError("--gold and --data both name the gold records", next_step="give one of them")
    card = find_card(task)
    kit = score_kit(card, predictions, gold)
    if kit is not None and gold is not None:
        source: DataSource = FolderSource(str(gold.parent), {})
        return ScoredFile(
            card, source, Records("dev", (), gold.name, "", kit.examples), "the kit's rules", kit
        )
    answers = _answers(predictions, card)
    if gold is None:
        source, gold_card = locate(card, data), card
    else:
        source, gold_card = _gold_source(card, gold)
    adapter = load_adapter(card)
    records = adapter.read(gold_card, source, "dev")
    aligned = align(answers, records, str(predictions))
    _require_known_labels(aligned, card, str(predictions))
    pairs = zip(records.items, aligned.answers, strict=True)
    given = [Prediction(record.id, answer.answer, answer.probability) for record, answer in pairs]
    return ScoredFile(card, source, records, aligned.by, adapter.score(given, records, card))


def _answers(predictions: Path, card: Card) -> list[GivenAnswer]:
    """Return the file's answers; a table where the task's submission is one."""
    raw = _read(predictions)
    if any(one.shape == "table" for one in card.submissions) and raw.lstrip()[:1] != b"{":
        rows = read_table(raw, str(predictions))
        return [GivenAnswer(number, name, answer, None) for number, (name, answer) in enumerate(rows, 1)]
    return read_predictions(raw, str(predictions))


def _read(path: Path) -> bytes:
    """Return the prediction file's bytes."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError("cannot read the prediction file", where=str(path), received=error.strerror) from None


def _gold_source(card: Card, gold: Path) -> tuple[DataSource, Card]:
    """Return the gold file under dev's name, and the card of a dev split that is this one file.

    Where the answers stand in a file of their own (ChID), it is looked for beside the gold file.
    """
    if not gold.is_file():
        raise DataError("no such gold file", where=str(gold), next_step="name a labelled file, as dev.json")
    # Under dev's name, so that the card's rules for dev apply; the count may differ.
    dev = card.splits["dev"]
    files = {dev.file: gold}
    if dev.answers is not None:
        names = (f"{gold.stem}_answer{gold.suffix}", *dev.answers.file_names)
        beside = next((path for name in names if (path := gold.with_name(name)).is_file()), None)
        if beside is None:
            raise DataError(
                "the answers of this gold file are not beside it",
                where=str(gold.parent),
                allowed=" or ".join(dict.fromkeys(names)),
                next_step="put the two files into one folder, or name the official zip with --data",
            )
        files[dev.answers.file] = beside
    # a file of one's own has no official count
    one_file = dev.model_copy(update={"more": [], "records": []})
    return FolderSource(str(gold), files), card.model_copy(
        update={"splits": {**card.splits, "dev": one_file}}
    )


def _require_known_labels(aligned: Aligned, card: Card, name: str) -> None:
    """Refuse answers that the card's label list does not have: they would only look like wrong ones."""
    # Entities name types inside their answers; the adapter checks those.
    if not card.labels or any(one.shape == "entities" for one in card.submissions):
        return
    known = set(card.label_names)
    problems = [
        Problem("not a label of the task", f"{name}:{given.line}", shorten(given.answer))
        for given in aligned.answers
        if not isinstance(given.answer, str) or given.answer not in known
    ]
    if problems:
        raise DataError(
            f"{len(problems):,} of {len(aligned.answers):,} answers are not labels of {card.name}",
            allowed=", ".join(card.label_names[:20]) + (" ..." if len(card.labels) > 20 else ""),
            problems=problems,
            next_step=f"clue tasks show {card.name}; labels are texts, not class indexes",
        )
