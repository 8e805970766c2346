"""After the last update: the best weights answer dev and test, and the results are written.

In: a job whose training has ended. Out: predictions, submissions, ``metrics.json``.
May be stopped and done again at any moment: each file is written whole, and always the same.
Knows nothing about the loop.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from clue_runner.adapters.base import Scores
from clue_runner.data.sources import DataSource
from clue_runner.files.atomic import write_atomic
from clue_runner.runs.measure import padding_share, peak_memory_bytes, seconds_spent
from clue_runner.runs.progress import Progress
from clue_runner.runs.results import RunResult, write_result
from clue_runner.submission.gather import SAMPLE_MARK
from clue_runner.submission.pack import SAMPLE_TEXT, SAMPLE_ZIP, zip_bytes
from clue_runner.training.answers import WrittenSubmission, describe, write_predictions, write_submissions
from clue_runner.training.job import Job


def finish(job: Job, source: DataSource, fields: Mapping[str, Any]) -> RunResult:
    """Predict with the best weights, write everything, and return what ``metrics.json`` holds.

    Args:
        job: a job whose training has ended.
        source: where its records are from.
        fields: what the result says before anything was measured.

    Raises:
        InterruptedRunError: a signal arrived; the same command does the rest.
        StorageError: the disk refused.
    """
    job.restore_best()
    card, data = job.material.card, job.material.data
    probabilities = job.run.output.probabilities
    predictions = job.best_dev()
    scores = job.material.adapter.score(predictions, data.records["dev"], card)
    write_predictions(job.folder.predictions / "dev.jsonl", predictions, probabilities=probabilities)
    written: list[WrittenSubmission] = []
    for split in card.test_splits:
        if split not in data.records:
            continue
        answers = job.predict(split)
        write_predictions(job.folder.predictions / f"{split}.jsonl", answers, probabilities=probabilities)
        written += write_submissions(
            job.folder.submission,
            card,
            split,
            answers,
            data.records[split],
            sample=source.is_sample,
        )
    result = RunResult.model_validate(
        {
            **fields,
            **_scored(scores, job.progress),
            **_measured(job),
            "data_complete": data.complete,
            "notes": {split: dict(rows.notes) for split, rows in job.material.rows.items() if rows.notes},
            "submission": _submission(job, written, sample=source.is_sample),
        }
    )
    write_result(job.folder.metrics, result)
    return result


def _scored(scores: Scores, progress: Progress) -> dict[str, Any]:
    """Return what the best dev evaluation found, and how training went."""
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


def _measured(job: Job) -> dict[str, Any]:
    """Return clocks, rates and sizes."""
    train_seconds = job.progress.seconds.get("train", 0.0)
    rates = {
        "train": job.progress.examples / train_seconds if train_seconds > 0 else None,
        "evaluate": job.evaluating.watch.rate,
        "predict": job.predicting.watch.rate,
    }
    return {
        "device": job.choices.device.text,
        "precision": job.choices.precision.value,
        "seconds": seconds_spent(job.progress, job.prepared, job.total_seconds()),
        "examples_per_second": {name: round(rate, 2) if rate else None for name, rate in rates.items()},
        "padding_share": padding_share(job.progress),
        "peak_memory_bytes": peak_memory_bytes(),
    }


def _submission(job: Job, written: list[WrittenSubmission], *, sample: bool) -> dict[str, Any] | None:
    """Return what was written for the leaderboard; sample answers are packed and marked."""
    if not written:
        return None
    entry: dict[str, Any] = {
        "files": describe(written, job.folder.path),
        "ok": not any(one.problems for one in written),
    }
    if sample:
        write_atomic(job.folder.submission / SAMPLE_MARK, SAMPLE_TEXT.encode())
        members = [(one.submission.file, one.path.read_bytes()) for one in written]
        write_atomic(job.folder.path / SAMPLE_ZIP, zip_bytes([*members, (SAMPLE_MARK, SAMPLE_TEXT.encode())]))
        entry |= {"zip": SAMPLE_ZIP, "note": "answers to sample records: not for upload"}
    return entry
