"""After the last update: the best weights answer dev and test, and the results are written.

In: a job whose training has finished. Out: predictions, submissions, ``metrics.json``.
May be interrupted and repeated at any moment: each file is written atomically, and always the same.
Knows nothing about the loop.
"""

from __future__ import annotations

from typing import Any

from clue_runner.adapters.base import Predictions, Scores
from clue_runner.files.atomic import write_atomic
from clue_runner.runs.code import code_version
from clue_runner.runs.machine import package_versions
from clue_runner.runs.measure import padding_share, peak_memory_bytes, program_commit, seconds_spent
from clue_runner.runs.results import RunResult, run_fields, write_result
from clue_runner.submission.gather import SAMPLE_MARK
from clue_runner.submission.pack import SAMPLE_TEXT, SAMPLE_ZIP, zip_bytes
from clue_runner.training.answers import WrittenSubmission, describe, write_predictions, write_submissions
from clue_runner.training.job import Job
from clue_runner.training.setup import Setup


def finish(job: Job) -> RunResult:
    """Predict with the best weights, write everything, and return the content of ``metrics.json``.

    Raises:
        InterruptedRunError: a signal arrived; the same command completes the rest.
        StorageError: the disk refused.
    """
    job.restore_best()
    setup = job.setup
    probabilities = setup.run.output.probabilities
    predictions = job.best_dev()
    adapter = setup.adapter
    scores = adapter.score(predictions, setup.data.records["dev"])
    notes = setup.notes
    notes["dev"] |= _answer_notes(job, "dev", predictions)
    nothing_learnt = adapter.degenerate(predictions, scores)
    if nothing_learnt:
        job.warn(nothing_learnt)
    write_predictions(job.folder.predictions / "dev.jsonl", predictions, probabilities=probabilities)
    written: list[WrittenSubmission] = []
    for split in setup.card.test_splits:
        if split not in setup.data.records:
            continue
        answers = job.predict(split)
        notes[split] |= _answer_notes(job, split, answers)
        write_predictions(job.folder.predictions / f"{split}.jsonl", answers, probabilities=probabilities)
        written += write_submissions(
            job.folder.submission,
            setup.adapter,
            split,
            answers,
            setup.data.records[split],
            sample=setup.source.is_sample,
        )
    job.settle_save(wait=True)  # a run has ended when its last state is whole
    result = RunResult.model_validate(
        {
            **result_fields(setup),
            **_score_fields(scores, job),
            **_measured(job),
            "data_complete": setup.data.complete,
            "notes": {split: counts for split, counts in notes.items() if counts},
            "submission": _submission(job, written),
        }
    )
    write_result(job.folder.metrics, result)
    return result


def _answer_notes(job: Job, split: str, predictions: Predictions) -> dict[str, int]:
    """Return what answering a split lost, and warn about it."""
    notes = job.setup.adapter.answer_notes(predictions)
    for what, count in notes.items():
        job.warn(f"{split}: {count:,} {what}")
    return notes


def result_fields(setup: Setup) -> dict[str, Any]:
    """Return the fields of the result that are known before the first step."""
    return run_fields(
        setup.run,
        task=setup.card.name,
        card_version=setup.card.version,
        metric=setup.card.metric,
        identity=setup.identity,
        data_sha256=setup.data.sha256,
        versions=package_versions(setup.run.backend),
        commit=program_commit(),
        code=code_version(),
    )


def _score_fields(scores: Scores, job: Job) -> dict[str, Any]:
    """Return the fields that the best dev evaluation fills."""
    progress = job.progress
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
    choices = job.setup.choices
    return {
        "device": choices.device.text,
        "devices": choices.device.count,
        "precision": choices.precision.value,
        "seconds": seconds_spent(job.progress, job.prepared, job.total_seconds()),
        "examples_per_second": {name: round(rate, 2) if rate else None for name, rate in rates.items()},
        "padding_share": padding_share(job.progress),
        "peak_memory_bytes": peak_memory_bytes(),
    }


def _submission(job: Job, written: list[WrittenSubmission]) -> dict[str, Any] | None:
    """Return what was written for the leaderboard; sample answers are packed and marked."""
    if not written:
        return None
    entry: dict[str, Any] = {
        "files": describe(written, job.folder.path),
        "ok": not any(one.problems for one in written),
    }
    if job.setup.source.is_sample:
        write_atomic(job.folder.submission / SAMPLE_MARK, SAMPLE_TEXT.encode())
        members = [(one.submission.file, one.path.read_bytes()) for one in written]
        write_atomic(job.folder.path / SAMPLE_ZIP, zip_bytes([*members, (SAMPLE_MARK, SAMPLE_TEXT.encode())]))
        entry |= {"zip": SAMPLE_ZIP, "note": "answers to sample records: not for upload"}
    return entry
