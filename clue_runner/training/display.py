"""What a user sees of a run, from its first line to its result.

In: a run, its data, its machine, the loop's progress. Out: lines and a bar on the console.
Knows nothing about files or tensors.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Any

from clue_runner.config.schema import Run
from clue_runner.console import Console, duration
from clue_runner.console import Progress as Bar
from clue_runner.data.cards import Card
from clue_runner.data.sources import DataSource
from clue_runner.runs.folder import RunFolder
from clue_runner.runs.progress import Progress
from clue_runner.runs.results import RunResult, WrittenSubmissions
from clue_runner.training.network import Choices
from clue_runner.training.prepare import SplitData


def say_weights(console: Console, run: Run) -> None:
    """Say where the weights come from; random ones must never be taken for a pretrained model."""
    if run.model.init == "random":
        console.say(f"model {run.model.name}: random weights, not a pretrained model")
    else:
        console.say(f"model {run.model.name}: weights from {run.model.checkpoint}")


def say_data(console: Console, card: Card, source: DataSource, data: SplitData) -> None:
    """Say what the data is, and what is missing or unusual about it."""
    counts = " · ".join(f"{split} {len(records):,}" for split, records in data.records.items())
    console.say(f"data {source.label}: {counts}")
    if source.is_sample:
        console.say("sample records: scores are not comparable, submissions not for upload")
    for records in data.records.values():
        for reason, count in records.skipped.items():
            console.say(f"{records.file}: {count:,} records left out ({reason})")
    for text in data.warnings:
        console.warn(text)
    for split, file in data.missing.items():
        console.warn(
            f"no {file} here: training runs, but there will be no predictions of {split} and no submission"
        )


def say_machine(console: Console, run: Run, choices: Choices, folder: RunFolder) -> None:
    """Say on what the run computes, and why."""
    console.say(
        f"{choices.device.text} · {choices.precision.value} ({choices.precision.reason}) · "
        f"XLA {choices.jit.value} ({choices.jit.reason})"
    )
    if run.model.family == "bert":
        console.say(f"attention {choices.attention.value} ({choices.attention.reason})")
    console.say(f"{run.task} · {run.model.name} · seed {run.seed} · {folder.path}")


def say_result(console: Console, result: RunResult, card: Card, folder: Path) -> None:
    """Print the score beside chance and published ones, then where everything is."""
    score, (low, high), chance, examples = result.scored
    console.say("")
    console.say(f"{result.task} · {result.split} · {result.model} · seed {result.seed}")
    console.say(
        f"  {result.metric}  {score:.2f}   [{low:.1f}, {high:.1f}] 95 %   "
        f"chance {chance:.1f}   {examples:,} examples"
    )
    others = [
        f"{name} {value:.2f}"
        for name, value in result.scores.items()
        if name != result.metric and "/" not in name
    ]
    if others:
        console.say(f"  beside it  {'   '.join(others)}")
    if not result.data_complete:
        console.say("  not comparable with published scores: a sample, a part, or not the card's data")
    for line in published_lines(card):
        console.say(f"  published  {line}")
    console.say(
        f"  best at epoch {result.best_epoch}, step {result.best_step} of {result.steps}; "
        f"{duration(result.seconds.get('total', 0.0))}"
    )
    if card.submissions:
        _say_submissions(console, result.submission, folder)
    else:
        console.say("  submission none: no leaderboard takes this task")
    console.say(f"  results    {folder / 'metrics.json'}")


def published_lines(card: Card, limit: int = 4) -> list[str]:
    """Return published scores, each with its split and source."""
    return [f"{one.model} {one.split} {one.score:.2f} ({one.source})" for one in card.published[:limit]]


def _say_submissions(console: Console, submission: WrittenSubmissions | None, folder: Path) -> None:
    """Print which files can be sent, and the zip where one was packed."""
    if submission is None:
        console.say("  submission none: there is no test file")
        return
    for file in submission.files:
        verdict = "accepted by clue submit check" if file.ok else f"not accepted: {file.problems[0]}"
        console.say(f"  submission {folder / file.file}   {file.lines:,} lines, {verdict}")
    if submission.zip:
        console.say(f"  packed     {folder / submission.zip}   {submission.note}")


class LoopDisplay(AbstractContextManager["LoopDisplay"]):
    """A bar while the loop runs, and a line for each evaluation."""

    def __init__(self, console: Console, run: Run, card: Card) -> None:
        """Show nothing yet: the number of updates is not known."""
        self._console = console
        self._run = run
        self._metric = card.metric
        self._bar: Bar | None = None
        self._context: AbstractContextManager[Bar] | None = None

    def start(self, total: int) -> None:
        """Open the bar."""
        self._context = self._console.progress(total, "training")
        self._bar = self._context.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the bar."""
        if self._context is not None:
            self._context.__exit__(kind, error, trace)

    def show(self, progress: Progress, shown: Mapping[str, Any]) -> None:
        """Take in where the loop stands."""
        if "evaluated" in shown:
            self._say_evaluation(shown["evaluated"], improved=bool(shown["improved"]), progress=progress)
        elif self._bar is not None:
            self._bar.update(
                progress.step,
                epoch=f"{progress.epoch + 1}/{self._run.train.epochs}",
                loss=float(shown["loss"]),
                **{"rows/s": None if shown["rate"] is None else f"{shown['rate']:.1f}"},
                best=None if progress.best_score is None else f"{progress.best_score:.2f}",
            )

    def _say_evaluation(self, entry: Mapping[str, Any], *, improved: bool, progress: Progress) -> None:
        """Print one line for an evaluation."""
        loss = "" if entry["loss"] is None else f"  loss {entry['loss']:.4f}"
        earlier = f"best {progress.best_score:.2f} at epoch {progress.best_epoch}"
        self._console.say(
            f"epoch {entry['epoch']}  step {entry['step']:,}{loss}  "
            f"dev {self._metric} {entry['score']:.2f}  ({'best so far' if improved else earlier})"
        )
