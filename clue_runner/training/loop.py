"""The loop: update, evaluate, keep the best, save, stop.

In: an engine, the train batches, and what to do at an evaluation and at a save. Out: a finished
``Progress``, or an error that says where it stopped. Between two updates the state is whole; only there
it is saved, and only after every dispatched update has been read and found finite. Where an update does not
fit into memory it is done again in smaller micro-batches; the update keeps its size.
Knows nothing about files, tasks, scores' meaning or the terminal.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from clue_runner.config.schema import TrainSettings
from clue_runner.engines.base import Engine, StepResult
from clue_runner.errors import InterruptedRunError, NotFiniteError
from clue_runner.runs.events import AnyEvent, Drop, Evaluate, Step
from clue_runner.runs.progress import Progress
from clue_runner.tokens.rows import Array
from clue_runner.training.out_of_memory import (
    UpdateTooLargeError,
    is_out_of_memory,
    update_memory_faults,
)
from clue_runner.training.schedules import learning_rate
from clue_runner.training.shrink import Batches, Tried, smaller_budget
from clue_runner.training.signals import Signals

UNREAD = 1  # updates that may be under way unread: the device stays busy, an infinite loss is seen at once
STEP_EVENTS = 200  # step events in a whole run, about
RATE_AFTER_SECONDS = 0.5  # a rate over less is noise


class Evaluated(Protocol):
    """What the loop needs of an evaluation's result."""

    @property
    def score(self) -> float:
        """Return the main score; higher is better."""

    @property
    def values(self) -> Mapping[str, float]:
        """Return all scores by name."""


@dataclass(frozen=True)
class Hooks:
    """What happens around the updates.

    Args:
        evaluate: score dev with the present weights; may raise ``InterruptedRunError``.
        save: keep the present state; True: it is the best so far.
        event: note an event.
        show: tell the user how far it is: progress and what stands beside it.
        drop: put the best weights back and forget the optimizer's moments.
        warn: tell the user and note a warning; further fields are for the note.
        reload: put the last saved state back, or begin again; return where that is.
    """

    evaluate: Callable[[], Evaluated]
    save: Callable[[Progress, bool], None]
    event: Callable[[AnyEvent], None]
    show: Callable[[Progress, Mapping[str, Any]], None]
    drop: Callable[[], None] = lambda: None
    warn: Callable[..., None] = lambda text, **fields: None
    reload: Callable[[], Progress] = Progress


@dataclass(frozen=True)
class _Pending(Tried):
    """An update that was dispatched and not yet read."""

    step: int
    learning_rate: float
    read: Callable[[], StepResult]


def total_updates(settings: TrainSettings, updates_per_epoch: int) -> int:
    """Return how many updates a run has unless patience ends it."""
    total = settings.epochs * updates_per_epoch
    return min(total, settings.max_steps) if settings.max_steps else total


class Loop:
    """Runs updates from where ``progress`` stands until the run has ended."""

    def __init__(
        self,
        engine: Engine,
        batches: Batches,
        settings: TrainSettings,
        progress: Progress,
        hooks: Hooks,
        signals: Signals,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Look at the first epoch's plan; nothing runs yet."""
        self.progress = progress
        self._engine = engine
        self._batches = batches
        self._settings = settings
        self._hooks = hooks
        self._signals = signals
        self._clock = clock
        self._pending: deque[_Pending] = deque()
        self._tried: Tried | None = None
        self._window: list[StepResult] = []
        self._stand()
        self.total = total_updates(settings, len(self._plan))

    def _stand(self) -> None:
        """Begin where ``progress`` and the engine's state are."""
        progress = self.progress
        self._plan_epoch, self._plan = progress.epoch, self._batches.plan(progress.epoch)
        self._window.clear()
        self._saved_step, self._saved_at = progress.step, self._clock()
        self._began_examples = progress.examples
        self._began_seconds = progress.seconds.get("train", 0.0)
        self._count_applied()

    def _count_applied(self) -> None:
        """Note what the engine's count of updates is ahead of ours by: a drop starts its count anew."""
        self._applied_before = (self._engine.applied() or 0) - self.progress.step

    def run(self) -> None:
        """Train to the end.

        Raises:
            NotFiniteError: a loss or gradient is not a number; the last saved state is the last good one.
            InterruptedRunError: a signal arrived; the state is saved.
            OutOfMemoryError: one example at a time does not fit.
            MemoryError: the arrays of an update do not fit, however they are cut.
        """
        self._boundary()  # a run stopped between an update and its evaluation goes on with the evaluation
        while self.progress.ended is None:
            try:
                self._advance()
            except UpdateTooLargeError as caught:
                problem = caught
            else:
                continue
            self._shrink(problem)
            self._boundary()

    def _advance(self) -> None:
        """Do one update and what is due after it, or stop where a signal asked for it."""
        if self._signals.requested is not None:
            self._stop()
        if self.progress.drop_due:
            self._drop()
        with update_memory_faults():
            self._update()
        self._signals.defer()
        self._boundary()

    def _stop(self) -> None:
        """Save and leave, because a signal asked for it."""
        self._settle()
        self._save(best=False)
        self._signals.check(
            f"at epoch {self.progress.epoch + 1}, step {self.progress.step}; the state is saved"
        )

    def _update(self) -> None:
        """Dispatch the next update and read an earlier one."""
        progress, started = self.progress, self._clock()
        self._tried = None  # laying the arrays out can fail, and a smaller cut of them is no help
        if self._plan_epoch != progress.epoch:
            self._plan_epoch, self._plan = progress.epoch, self._batches.plan(progress.epoch)
        indices = self._plan[progress.position]
        arrays = self._batches.arrays(progress.epoch, indices, progress.token_budget)
        _, rows, length = arrays["token_ids"].shape
        self._tried = Tried(progress.epoch, indices, rows * length)
        rate = learning_rate(progress.step, self.total, self._settings)
        if progress.dropped_at is not None and self._settings.drop_learning_rate is not None:
            rate = self._settings.drop_learning_rate
        compilations, dispatched = self._engine.compilations, self._clock()
        read = self._engine.step(
            {name: values for name, values in arrays.items() if name != "row"},
            update_index=progress.step,
            learning_rate=rate,
        )
        compiling = self._clock() - dispatched if self._engine.compilations > compilations else 0.0
        progress.step += 1
        progress.position += 1
        progress.examples += _count_examples(arrays)
        progress.real_tokens += int(arrays["lengths"][arrays["weight"] != 0].sum())
        progress.computed_tokens += int(arrays["token_ids"].size)
        self._pending.append(_Pending(progress.epoch, indices, rows * length, progress.step, rate, read))
        while len(self._pending) > UNREAD:
            self._read_next()
        progress.spend("compile", compiling)
        progress.spend("train", self._clock() - started - compiling)

    def _shrink(self, problem: UpdateTooLargeError) -> None:
        """Find a whole state after an update that did not fit, and halve the micro-batches from there on."""
        step, under_way = self.progress.step, [*self._pending, *([self._tried] if self._tried else [])]
        if not under_way:
            raise problem.error
        budget = smaller_budget(self._batches, under_way, problem)
        while self._pending:
            try:
                self._read_next()
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                self._pending.popleft()
        if self._engine.applied() != self._applied_before + self.progress.step:
            self.progress.become(self._hooks.reload())
            self._stand()
        self.progress.token_budget = budget
        self._hooks.warn(
            f"out of memory at step {step}: going on from step {self.progress.step} with at most {budget:,} "
            "tokens in a micro-batch; every update keeps its examples",
            step=self.progress.step,
            token_budget=budget,
        )

    def _read_next(self) -> None:
        """Take in the oldest unread update; one that cannot be read stays."""
        self._read(self._pending[0])
        self._pending.popleft()

    def _read(self, pending: _Pending) -> None:
        """Take in one update's result."""
        result, progress = pending.read(), self.progress
        if not result.finite:
            good = "there was none" if progress.last_loss is None else f"{progress.last_loss:.4g}"
            raise NotFiniteError(
                f"the loss or its gradient is not a number at step {pending.step}, "
                f"epoch {pending.epoch + 1} (last good loss: {good})",
                received=f"loss {result.loss}, gradient norm {result.gradient_norm}",
                next_step="lower train.learning_rate or raise train.warmup_ratio; no bad state was saved",
            )
        progress.last_loss = result.loss
        progress.loss_sum += result.loss * result.weight
        progress.loss_weight += result.weight
        self._window.append(result)
        if pending.step % max(1, self.total // STEP_EVENTS) == 0:
            self._note_step(pending)

    def _note_step(self, pending: _Pending) -> None:
        """Write a step event and show it: the mean since the one before."""
        weight = sum(one.weight for one in self._window)
        loss = sum(one.loss * one.weight for one in self._window) / weight if weight else 0.0
        seconds = self.progress.seconds.get("train", 0.0) - self._began_seconds
        examples = self.progress.examples - self._began_examples
        rate = round(examples / seconds, 2) if seconds >= RATE_AFTER_SECONDS else None
        self._hooks.event(
            Step(
                step=pending.step,
                epoch=pending.epoch + 1,
                loss=loss,
                learning_rate=pending.learning_rate,
                gradient_norm=self._window[-1].gradient_norm,
                examples_per_second=rate,
            )
        )
        self._window.clear()
        self._hooks.show(self.progress, {"loss": loss, "rate": rate, "total": self.total})

    def _settle(self) -> None:
        """Read every update under way."""
        started = self._clock()
        with update_memory_faults():
            while self._pending:
                self._read_next()
        self.progress.spend("train", self._clock() - started)

    def _boundary(self) -> None:
        """Do what is due between two updates: evaluate, turn the epoch, end, save."""
        progress = self.progress
        if progress.ended is not None:
            return
        improved = False
        if self._evaluation_due():
            self._settle()
            improved = self._evaluate()
        if progress.position == len(self._plan):
            progress.epoch, progress.position = progress.epoch + 1, 0
        progress.ended = self._ending()
        if improved or progress.ended or self._save_due():
            self._settle()
            self._save(best=improved)

    def _evaluation_due(self) -> bool:
        """Return whether dev is to be scored at this step."""
        progress, every = self.progress, self._settings.evaluate_steps
        if progress.step == 0 or progress.evaluated:
            return False
        if progress.step >= self.total:
            return True
        return progress.step % every == 0 if every else progress.position == len(self._plan)

    def _evaluate(self) -> bool:
        """Score dev and return whether it is the best so far."""
        progress = self.progress
        try:
            scores = self._hooks.evaluate()
        except InterruptedRunError:
            # The evaluation is not part of the state yet, so it is done again from its beginning.
            self._save(best=False)
            raise
        improved = progress.best_score is None or scores.score > progress.best_score
        entry: dict[str, Any] = {
            "step": progress.step,
            "epoch": progress.epoch + 1,
            "score": scores.score,
            "scores": dict(scores.values),
            "loss": progress.mean_loss,
        }
        progress.history.append(entry)
        if improved:
            progress.best_score, progress.best_step = scores.score, progress.step
            progress.best_epoch = progress.epoch + 1
        progress.evaluations_without_gain = 0 if improved else progress.evaluations_without_gain + 1
        progress.drop_due = progress.drop_due or self._drop_wanted(scores.score)
        progress.loss_sum = progress.loss_weight = 0.0
        self._hooks.event(Evaluate(**entry, best=improved))
        self._hooks.show(progress, {"total": self.total, "evaluated": entry, "improved": improved})
        return improved

    def _drop(self) -> None:
        """Go back to the best weights; what a resumed run does here follows from the saved progress alone."""
        self._settle()
        self._hooks.drop()
        self._count_applied()
        self.progress.drop_due, self.progress.dropped_at = False, self.progress.step
        # the better weights of before the drop are no reason to stop after it
        self.progress.evaluations_without_gain = 0
        self._hooks.event(Drop(step=self.progress.step, learning_rate=self._settings.drop_learning_rate))

    def _drop_wanted(self, score: float) -> bool:
        """Return whether the evaluation at the end of this epoch is the one to go back after."""
        progress, settings = self.progress, self._settings
        if settings.drop_learning_rate is None or progress.drop_due or progress.dropped_at is not None:
            return False
        epoch = progress.epoch + 1
        stalled = progress.evaluations_without_gain >= settings.drop_patience
        return epoch >= settings.drop_epoch or (
            epoch > settings.drop_after and (stalled or score < settings.drop_below)
        )

    def _ending(self) -> str | None:
        """Return why the run ends here; None: it goes on."""
        patience = self._settings.patience
        if self.progress.step >= self.total:
            return "max_steps" if self.progress.epoch < self._settings.epochs else "epochs"
        if patience is not None and self.progress.evaluations_without_gain >= patience:
            return "patience"
        return None

    def _save_due(self) -> bool:
        """Return whether a periodic save is due."""
        if self.progress.step == self._saved_step:
            return False
        every = self._settings.save_steps
        if every is not None and self.progress.step % every == 0:
            return True
        return self._clock() - self._saved_at >= 60 * self._settings.save_minutes

    def _save(self, *, best: bool) -> None:
        """Keep the present state; a state without any update is not worth a file."""
        if self.progress.step == 0:
            return
        self._hooks.save(self.progress, best)
        self._saved_step, self._saved_at = self.progress.step, self._clock()


def _count_examples(arrays: Mapping[str, Array]) -> int:
    """Return the examples of an update: rows that are not padding."""
    return int(np.count_nonzero(arrays["weight"]))
