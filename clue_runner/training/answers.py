"""Writes predictions to files: ``predictions/<split>.jsonl`` and the leaderboard's files, checked.

In: predictions and records. Out: files, and the checker's verdict on them.
Knows nothing about networks or steps.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from clue_runner.adapters.base import Adapter, Predictions
from clue_runner.data.cards import Submission
from clue_runner.data.records import Records
from clue_runner.errors import Problem
from clue_runner.files.atomic import make_folder, write_atomic
from clue_runner.submission.check import check_file
from clue_runner.submission.objects import count_answers


@dataclass(frozen=True)
class WrittenSubmission:
    """One official file and its problems; without problems it may be submitted."""

    submission: Submission
    path: Path
    lines: int
    problems: tuple[Problem, ...]


def predictions_bytes(predictions: Predictions, *, probabilities: bool) -> bytes:
    """Return JSON lines of ``id``, ``prediction`` and, where wanted, ``probability`` and ``n_best``."""
    lines = []
    for one in predictions:
        entry: dict[str, object] = {"id": one.id, "prediction": one.prediction}
        if probabilities and one.probability is not None:
            entry["probability"] = digits(one.probability)
        if probabilities and one.alternatives:
            entry["n_best"] = [
                {"prediction": text, "probability": digits(chance)} for text, chance in one.alternatives
            ]
        if one.evidence:
            entry["evidence"] = [
                {"passage": passage, "start": start, "end": end, "score": digits(score)}
                for passage, start, end, score in one.evidence
            ]
        lines.append(json.dumps(entry, ensure_ascii=False, allow_nan=False))
    return "".join(f"{line}\n" for line in lines).encode()


def digits(probability: float) -> float:
    """Return nine digits, which tell every float32 from its neighbours."""
    return float(f"{probability:.9g}")


def write_predictions(path: Path, predictions: Predictions, *, probabilities: bool) -> None:
    """Write one split's predictions in file order.

    Raises:
        StorageError: the disk refused.
    """
    make_folder(path.parent)
    write_atomic(path, predictions_bytes(predictions, probabilities=probabilities))


def write_submission(
    path: Path,
    adapter: Adapter,
    submission: Submission,
    predictions: Predictions,
    records: Records[object],
    *,
    sample: bool,
) -> WrittenSubmission:
    """Write one official file, checked as the leaderboard would.

    Raises:
        StorageError: the disk refused.
    """
    raw = adapter.submit(predictions, submission)
    make_folder(path.parent)
    write_atomic(path, raw)
    problems = check_file(adapter.card, submission, raw, records, sample=sample)
    return WrittenSubmission(submission, path, count_answers(raw, submission.shape), tuple(problems))


def write_submissions(
    folder: Path,
    adapter: Adapter,
    split: str,
    predictions: Predictions,
    records: Records[object],
    *,
    sample: bool,
) -> list[WrittenSubmission]:
    """Write every official file that the card asks of a split, each under its official name.

    Raises:
        StorageError: the disk refused.
    """
    return [
        write_submission(folder / one.file, adapter, one, predictions, records, sample=sample)
        for one in adapter.card.submissions
        if one.split == split
    ]


def describe(written: Iterable[WrittenSubmission], home: Path | None) -> list[dict[str, object]]:
    """Return the files for results: path (within ``home`` where given), lines, accepted or why not."""
    return [
        {
            "file": str(one.path if home is None else one.path.relative_to(home)),
            "split": one.submission.split,
            "lines": one.lines,
            "ok": not one.problems,
            "problems": [str(problem) for problem in one.problems],
        }
        for one in written
    ]
