"""Predictions to files: ``predictions/<split>.jsonl`` and the leaderboard's files, checked.

In: predictions and records. Out: files, and what the checker says about them.
Knows nothing about networks or steps.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from clue_runner.adapters.base import Adapter, Predictions
from clue_runner.data.cards import Card, Submission
from clue_runner.data.records import Records
from clue_runner.errors import Problem
from clue_runner.submission.check import check_file
from clue_runner.training.storage import make_folder, write_atomic


@dataclass(frozen=True)
class WrittenSubmission:
    """One official file and what is wrong with it; no problems: it may be sent."""

    submission: Submission
    path: Path
    lines: int
    problems: tuple[Problem, ...]


def predictions_bytes(predictions: Predictions, *, probabilities: bool) -> bytes:
    """Return JSON lines of ``id``, ``prediction`` and, where wanted, ``probability``."""
    lines = []
    for one in predictions:
        entry: dict[str, object] = {"id": one.id, "prediction": one.prediction}
        if probabilities and one.probability is not None:
            # Six digits: what a reader needs, and the same text for the same float32 everywhere.
            entry["probability"] = round(one.probability, 6)
        lines.append(json.dumps(entry, ensure_ascii=False, allow_nan=False))
    return "".join(f"{line}\n" for line in lines).encode()


def write_predictions(path: Path, predictions: Predictions, *, probabilities: bool) -> None:
    """Write one split's predictions in file order.

    Raises:
        StorageError: the disk refused.
    """
    make_folder(path.parent)
    write_atomic(path, predictions_bytes(predictions, probabilities=probabilities))


def write_submissions(
    folder: Path,
    card: Card,
    adapter: Adapter,
    split: str,
    predictions: Predictions,
    records: Records[object],
    *,
    sample: bool,
) -> list[WrittenSubmission]:
    """Write every official file that the card asks of a split, each checked as the leaderboard would.

    Raises:
        StorageError: the disk refused.
    """
    written = []
    for submission in card.submissions:
        if submission.split != split:
            continue
        raw = adapter.submit(predictions, card, submission)
        path = folder / submission.file
        make_folder(folder)
        write_atomic(path, raw)
        problems = check_file(card, submission, raw, records, sample=sample)
        written.append(WrittenSubmission(submission, path, len(predictions), tuple(problems)))
    return written


def describe(written: Iterable[WrittenSubmission], home: Path) -> list[dict[str, object]]:
    """Return the files for ``metrics.json``: path within the run folder, lines, accepted or why not."""
    return [
        {
            "file": one.path.relative_to(home).as_posix(),
            "split": one.submission.split,
            "lines": one.lines,
            "ok": not one.problems,
            "problems": [str(problem) for problem in one.problems],
        }
        for one in written
    ]
