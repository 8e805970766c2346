"""The messages before and after a run.

In: a run, its data, its machine, its result. Out: lines on the console.
Knows nothing about files or tensors.
"""

from __future__ import annotations

from pathlib import Path

from clue_runner.config.schema import Run
from clue_runner.config.shipped import as_given
from clue_runner.console import Console, duration
from clue_runner.data.cards import Card
from clue_runner.data.sources import DataSource
from clue_runner.runs.folder import RunFolder
from clue_runner.runs.results import RunResult, WrittenSubmissions
from clue_runner.training.network import Choices
from clue_runner.training.prepare import SplitData


def say_weights(console: Console, run: Run) -> None:
    """Report where the weights come from; random ones must never be mistaken for a pre-trained model."""
    if run.model.init == "random":
        console.say(f"model {run.model.name}: random weights, not a pre-trained model")
    else:
        console.say(f"model {run.model.name}: weights from {as_given(run.model.checkpoint or '')}")


def say_data(console: Console, card: Card, source: DataSource, data: SplitData) -> None:
    """Report what the data is, and what is missing or unusual about it."""
    counts = " · ".join(f"{split} {len(records):,}" for split, records in data.records.items())
    console.say(f"data {source.label}: {counts}")
    if source.is_sample:
        console.say("sample records: scores are not comparable, submissions not for upload")
    for records in data.records.values():
        for reason, count in records.skipped.items():
            console.say(f"{records.shown}: {count:,} records left out ({reason})")
    for text in data.warnings:
        console.warn(text)
    for split, file in data.missing.items():
        console.warn(
            f"no file {file}: training runs, but there will be no predictions of {split} and no submission"
        )


def say_machine(console: Console, run: Run, choices: Choices, folder: RunFolder) -> None:
    """Report where and how the run computes, and why."""
    console.say(
        f"{choices.device.text} · {choices.precision.value} ({choices.precision.reason}) · "
        f"XLA {choices.jit.value} ({choices.jit.reason})"
    )
    if choices.attention is not None:
        console.say(f"attention {choices.attention.value} ({choices.attention.reason})")
    console.say(f"{run.task.name} · {run.model.name} · seed {run.seed} · {folder.path}")


def say_result(console: Console, result: RunResult, card: Card, folder: Path) -> None:
    """Print the score beside chance and published ones, then where everything is."""
    score, (low, high), chance, examples = result.scored
    console.say("")
    console.say(f"{result.task} · {result.split} · {result.model} · seed {result.seed}")
    console.say(
        f"  {result.metric}  {score:.2f}   [{low:.2f}, {high:.2f}] 95 %   "
        f"chance {chance:.2f}   {examples:,} examples"
    )
    others = [
        f"{name} {value:.2f}"
        for name, value in result.scores.items()
        if name != result.metric and "/" not in name
    ]
    if others:
        console.say(f"  also       {'   '.join(others)}")
    if not result.data_complete:
        console.say("  not comparable with published scores: sample, partial or other data than the card's")
    for line in published_lines(card) if result.data_complete else ():
        console.say(f"  published  {line}")
    console.say(
        f"  best at epoch {result.best_epoch}, step {result.best_step} of {result.steps}; "
        f"{duration(result.seconds.get('total', 0.0))}"
    )
    if card.submissions:
        _say_submissions(console, result.submission, folder)
    else:
        console.say("  submission none: no leaderboard has this task")
    console.say(f"  results    {folder / 'metrics.json'}")


def published_lines(card: Card, limit: int = 4) -> list[str]:
    """Return published scores, each with its split and source."""
    return [f"{one.model} {one.split} {one.score:.2f} ({one.source})" for one in card.published[:limit]]


def _say_submissions(console: Console, submission: WrittenSubmissions | None, folder: Path) -> None:
    """Print which files can be submitted, and the zip if one was packed."""
    if submission is None:
        console.say("  submission none: there is no test file")
        return
    for file in submission.files:
        verdict = "accepted by clue submit check" if file.ok else f"not accepted: {file.problems[0]}"
        console.say(f"  submission {folder / file.file}   {file.lines:,} lines, {verdict}")
    if submission.zip:
        console.say(f"  packed     {folder / submission.zip}   {submission.note}")
