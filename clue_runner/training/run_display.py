"""One line on the screen for all the work of a run: training, its evaluations, the last predictions.

In: a setup, the loop's progress. Out: a bar whose time left covers all remaining work, and a line
for each evaluation. Knows nothing about files or tensors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from types import TracebackType
from typing import Any

from clue_runner.config.schema import TrainSettings
from clue_runner.console import Console
from clue_runner.console import Progress as Bar
from clue_runner.runs.progress import Progress
from clue_runner.training.setup import Setup

# Forward and backward pass relative to the forward pass: the cost of an answer before one was timed.
TRAIN_TO_ANSWER = 3.0


class RunDisplay(AbstractContextManager["RunDisplay"]):
    """A progress bar, shown only while the context is entered."""

    def __init__(self, console: Console, setup: Setup, progress: Progress) -> None:
        """Show nothing yet: the number of updates is unknown."""
        self._console = console
        self._setup = setup
        self._progress = progress
        self._is_open = False
        self._bar: Bar | None = None
        self._context: AbstractContextManager[Bar] | None = None
        self._total: int | None = None  # None: no update is to come
        self._evaluations = 0
        self._beside: dict[str, object] = {}

    def __enter__(self) -> RunDisplay:
        """Allow a bar."""
        self._is_open = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the bar."""
        context, self._context, self._bar, self._is_open = self._context, None, None, False
        if context is not None:
            context.__exit__(kind, error, trace)

    def train(self, total: int, updates_per_epoch: int) -> None:
        """Switch to training, which has ``total`` updates unless early stopping ends it."""
        self._total = total
        self._evaluations = evaluations_until(total, self._setup.run.train, updates_per_epoch)
        self._back_to_training()

    def trained(self) -> None:
        """Note that there are no more updates."""
        self._total = None

    def show(self, progress: Progress, shown: Mapping[str, Any]) -> None:
        """Take in the loop's progress."""
        if "evaluated" in shown:
            self._say_evaluation(shown["evaluated"], improved=bool(shown["improved"]))
            return
        self._beside = {
            "loss": float(shown["loss"]),
            "epoch": f"{progress.epoch + 1}/{self._setup.run.train.epochs}",
            "best": None if progress.best_score is None else f"{progress.best_score:.2f}",
            "rows/s": None if shown["rate"] is None else f"{shown['rate']:.1f}",
        }
        self._update_training()

    @contextmanager
    def answering(self, label: str, split: str) -> Iterator[Callable[[int], None]]:
        """Show how many rows of a split are answered; return the function to report to."""
        if not self._is_open:
            yield lambda done: None
            return
        rows = len(self._setup.rows[split])
        self._begin(label, rows, 0)

        def answered(done: int) -> None:
            if self._bar is not None:
                self._bar.update(done, left=self._seconds_left(rows - done))

        yield answered
        self._back_to_training()

    # ------------------------------------------------------------------------ the bar

    def _begin(self, label: str, total: int, done: int) -> None:
        """Open the bar, or let it count something else."""
        if self._bar is not None:
            self._bar.begin(label, total, done)
            return
        self._context = self._console.progress(total, label, done)
        self._bar = self._context.__enter__()

    def _back_to_training(self) -> None:
        if self._total is not None:
            self._begin("training", self._total, self._progress.step)
            self._update_training()

    def _update_training(self) -> None:
        if self._bar is not None:
            self._bar.update(self._progress.step, left=self._seconds_left(0), **self._beside)

    def _say_evaluation(self, entry: Mapping[str, Any], *, improved: bool) -> None:
        """Print one line for an evaluation."""
        progress = self._progress
        loss = "" if entry["loss"] is None else f"  loss {entry['loss']:.4f}"
        earlier = f"best {progress.best_score:.2f} at epoch {progress.best_epoch}"
        self._console.say(
            f"epoch {entry['epoch']}  step {entry['step']:,}{loss}  "
            f"dev {self._setup.card.metric} {entry['score']:.2f}  ({'best so far' if improved else earlier})"
        )

    # ------------------------------------------------------------------------ time left

    def _seconds_left(self, answering: int) -> float | None:
        """Return the seconds until the run is finished; None before anything was timed.

        Args:
            answering: rows of the split under way that have no answer yet; 0 between two splits.
        """
        progress, rows = self._progress, self._setup.rows
        trained = progress.seconds.get("train", 0.0)
        answer = answer_seconds(progress, len(rows["dev"]))
        if answer is None or (not trained and self._total is not None):
            return None
        pending = answering
        left = 0.0
        if self._total is not None:
            if progress.step:
                left += (self._total - progress.step) * trained / progress.step
            coming = self._evaluations - len(progress.history) - (1 if answering else 0)
            pending += max(coming, 0) * len(rows["dev"])
            pending += sum(len(rows[split]) for split in self._setup.card.test_splits if split in rows)
        return left + pending * answer


def answer_seconds(progress: Progress, dev_rows: int) -> float | None:
    """Return the seconds per answer: measured on dev, or estimated from training."""
    evaluated = progress.seconds.get("evaluate", 0.0)
    if progress.history and evaluated and dev_rows:
        return evaluated / (len(progress.history) * dev_rows)
    trained = progress.seconds.get("train", 0.0)
    return trained / progress.examples / TRAIN_TO_ANSWER if progress.examples and trained else None


def evaluations_until(total: int, train: TrainSettings, updates_per_epoch: int) -> int:
    """Return how many evaluations a run of ``total`` updates has; one always follows the last update."""
    every = train.evaluate_steps or max(updates_per_epoch, 1)
    return -(-total // every)
