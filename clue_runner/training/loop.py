"""The loop: evaluate, keep the best, save, stop, update, log.

In: an engine, the train batches, and what to do at an evaluation and at a save. Out: a finished ``Progress``,
or an error that tells where it stopped. Between two updates the state is complete; only there it is saved,
and only after every dispatched update has been read and found finite.
Knows nothing about files, tasks, the meaning of scores, the terminal, or what to do when memory runs out.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from clue_runner.config.schema import TrainSettings
from clue_runner.console.signals import Signals
from clue_runner.engines.base import Engine, StepResult
from clue_runner.errors import InterruptedRunError, NotFiniteError
from clue_runner.runs.events import AnyEvent, Drop, Evaluate, Step
from clue_runner.runs.progress import Progress
from clue_runner.tokens.rows import Array, IntArray
from clue_runner.training.out_of_memory import update_memory_faults
from clue_runner.training.rates.drop import LearningRateDrop
from clue_runner.training.rates.schedules import learning_rate

UNREAD = 1  # dispatched updates that may be unread: the device stays busy, a NaN is noticed at once
STEP_EVENTS = 200  # approximate number of step events in a run
RATE_AFTER_SECONDS = 0.5  # over a shorter time the speed is noise


class Batches(Protocol):
    """The train batches of a run; ``token_budget``: padded tokens per micro-batch, if below the setting."""

    def plan(self, epoch: int) -> Sequence[IntArray]:
        """Return the rows of each update of an epoch; every epoch has as many updates."""

    def shape(self, epoch: int, indices: IntArray, token_budget: int | None = None) -> tuple[int, int, int]:
        """Return (micro-batches, rows in each, padded length) of one update; nothing is laid out."""

    def arrays(self, epoch: int, indices: IntArray, token_budget: int | None = None) -> Mapping[str, Array]:
        """Return the arrays of one update that the device needs, each (micro-batches, rows, ...)."""


class Evaluated(Protocol):
    """The part of an evaluation's result that the loop needs."""

    @property
    def score(self) -> float:
        """Return the main score; higher is better."""

    @property
    def values(self) -> Mapping[str, float]:
        """Return all scores by name."""


class SettleSave(Protocol):
    """How the loop asks for the state that is being written."""

    def __call__(self, *, wait: bool) -> None:
        """Raise if it could not be written; ``wait``: until that is known."""


@dataclass(frozen=True)
class Hooks:
    """The callbacks around the updates.

    Args:
        evaluate: score dev with the present weights; may raise ``InterruptedRunError``.
        save: copy the present state, and begin to write it; True: it is the best so far.
        settle_save: take note of the state being written if it is whole by now, or wait until it is.
        event: record an event.
        show: show the progress and the values beside it.
        drop: restore the best weights and reset the optimizer's moments.
        warn: show and record a warning; further fields go into the record.
        reload: restore the last saved state, or start over; return its progress.
    """

    evaluate: Callable[[], Evaluated]
    save: Callable[[Progress, bool], None]
    event: Callable[[AnyEvent], None]
    show: Callable[[Progress, Mapping[str, Any]], None]
    drop: Callable[[], None] = lambda: None
    warn: Callable[..., None] = lambda text, **fields: None
    reload: Callable[[], Progress] = Progress
    settle_save: SettleSave = lambda *, wait: None


@dataclass(frozen=True)
class Update:
    """One prepared update: its rows, and the padded tokens in each of its micro-batches."""

    epoch: int
    indices: IntArray
    tokens: int


@dataclass(frozen=True)
class _Pending(Update):
    """An update that was dispatched and not yet read."""

    step: int
    learning_rate: float
    read: Callable[[], StepResult]


def total_updates(settings: TrainSettings, updates_per_epoch: int) -> int:
    """Return how many updates the run has unless early stopping ends it."""
    total = settings.epochs * updates_per_epoch
    return min(total, settings.max_steps) if settings.max_steps else total


class Loop:
    """Runs updates from ``progress`` until the run has ended."""

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
        """Plan the first epoch; nothing runs yet."""
        self.progress = progress
        self.batches = batches
        self.engine = engine
        self.hooks = hooks
        self._settings = settings
        self._signals = signals
        self._clock = clock
        self._rate_drop = LearningRateDrop(settings)
        self._pending: deque[_Pending] = deque()
        self._laid_out: Update | None = None
        self._window: list[StepResult] = []
        self._plan_epoch, self._plan = progress.epoch, batches.plan(progress.epoch)
        self.stand()
        self.updates_per_epoch = len(self._plan)
        self.total = total_updates(settings, self.updates_per_epoch)

    def run(self) -> None:
        """Train to the end.

        Raises:
            NotFiniteError: a loss, gradient or weight is NaN or infinite; the last saved state is good.
            StorageError: a state could not be written; those saved earlier are untouched.
            InterruptedRunError: a signal arrived; the state is saved.
            UpdateTooLargeError: memory ran out in an update; ``smaller_updates`` continues from here.
            MemoryError: the arrays of an update do not fit, however they are split.
        """
        progress = self.progress
        # A run that stopped between an update and its evaluation continues with the evaluation.
        while progress.ended is None:
            self.hooks.settle_save(wait=False)
            improved = self._evaluate() if self._evaluation_due() else False
            self._turn_epoch()
            progress.ended = self._ending()
            if improved or progress.ended or self._save_due():
                self._save(best=improved)
            if progress.ended is None:
                self._stop_if_asked()
                self._drop_if_due()
                self._step()
                self._signals.defer()

    # ------------------------------------------------------------------------ evaluate

    def _evaluation_due(self) -> bool:
        progress, every = self.progress, self._settings.evaluate_steps
        if progress.step == 0 or progress.evaluated:
            return False
        if progress.step >= self.total:
            return True
        return progress.step % every == 0 if every else progress.position == len(self._plan)

    def _evaluate(self) -> bool:
        """Score dev and return whether it is the best so far."""
        self._settle()
        progress = self.progress
        try:
            scores = self.hooks.evaluate()
        except InterruptedRunError:
            # The evaluation is not part of the state yet, so it is repeated from its beginning.
            self._save_whole()
            raise
        improved = progress.best_score is None or scores.score > progress.best_score
        entry = {
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
        progress.drop_due = progress.drop_due or self._rate_drop.wanted(progress, scores.score)
        progress.loss_sum = progress.loss_weight = 0.0
        self.hooks.event(Evaluate.model_validate({**entry, "best": improved}))
        self.hooks.show(progress, {"total": self.total, "evaluated": entry, "improved": improved})
        return improved

    def _turn_epoch(self) -> None:
        if self.progress.position == len(self._plan):
            self.progress.epoch, self.progress.position = self.progress.epoch + 1, 0

    # ------------------------------------------------------------------------ save

    def _save_due(self) -> bool:
        """Return whether a periodic save is due."""
        if self.progress.step == self._saved_step:
            return False
        every = self._settings.save_steps
        if every is not None and self.progress.step % every == 0:
            return True
        return self._clock() - self._saved_at >= 60 * self._settings.save_minutes

    def _save(self, *, best: bool) -> None:
        """Save the present state; one without any update is not worth a file."""
        self._settle()
        if self.progress.step == 0:
            return
        self.hooks.save(self.progress, best)
        self._saved_step, self._saved_at = self.progress.step, self._clock()

    def _save_whole(self) -> None:
        """Save the present state, and wait until it is whole."""
        self._save(best=False)
        self.hooks.settle_save(wait=True)

    # ------------------------------------------------------------------------ stop

    def _ending(self) -> str | None:
        """Return why the run ends here; None: it continues."""
        patience = self._settings.patience
        if self.progress.step >= self.total:
            return "max_steps" if self.progress.epoch < self._settings.epochs else "epochs"
        if patience is not None and self.progress.evaluations_without_gain >= patience:
            return "patience"
        return None

    def _stop_if_asked(self) -> None:
        """Save and stop if a signal asked for it."""
        if self._signals.requested is None:
            return
        self._save_whole()
        self._signals.check(
            f"at epoch {self.progress.epoch + 1}, step {self.progress.step}; the state is saved"
        )

    # ------------------------------------------------------------------------ step

    def _drop_if_due(self) -> None:
        """Return to the best weights, once in a run."""
        progress = self.progress
        if not progress.drop_due:
            return
        self._settle()
        self.hooks.drop()
        self._count_applied()
        progress.drop_due, progress.dropped_at = False, progress.step
        # the better weights before the drop are no reason to stop after it
        progress.evaluations_without_gain = 0
        self.hooks.event(Drop(step=progress.step, learning_rate=self._settings.drop_learning_rate))

    def _step(self) -> None:
        """Dispatch the next update and read an earlier one."""
        progress, started = self.progress, self._clock()
        self._laid_out = None  # preparing the arrays can fail, and a finer split does not help
        with update_memory_faults():
            if self._plan_epoch != progress.epoch:
                self._plan_epoch, self._plan = progress.epoch, self.batches.plan(progress.epoch)
            indices = self._plan[progress.position]
            arrays = self.batches.arrays(progress.epoch, indices, progress.token_budget)
            _, rows, length = arrays["token_ids"].shape
            self._laid_out = Update(progress.epoch, indices, rows * length)
            rate = self._rate_drop.rate(progress, learning_rate(progress.step, self.total, self._settings))
            compilations, dispatched = self.engine.compilations, self._clock()
            read = self.engine.step(arrays, update_index=progress.step, learning_rate=rate)
            compiling = self._clock() - dispatched if self.engine.compilations > compilations else 0.0
            self._count(arrays)
            self._pending.append(_Pending(progress.epoch, indices, rows * length, progress.step, rate, read))
            while len(self._pending) > UNREAD:
                self._read_next()
        progress.spend("compile", compiling)
        progress.spend("train", self._clock() - started - compiling)

    def _count(self, arrays: Mapping[str, Array]) -> None:
        """Add a dispatched update to the progress."""
        progress = self.progress
        progress.step += 1
        progress.position += 1
        progress.examples += int(np.count_nonzero(arrays["weight"]))
        progress.real_tokens += int(arrays["lengths"][arrays["weight"] != 0].sum())
        progress.computed_tokens += int(arrays["token_ids"].size)

    def _settle(self) -> None:
        """Read every dispatched update."""
        started = self._clock()
        with update_memory_faults():
            while self._pending:
                self._read_next()
        self.progress.spend("train", self._clock() - started)

    def _read_next(self) -> None:
        """Take in the oldest unread update; one that cannot be read stays."""
        self._read(self._pending[0])
        self._pending.popleft()

    def _read(self, pending: _Pending) -> None:
        result, progress = pending.read(), self.progress
        if not result.finite:
            good = "none" if progress.last_loss is None else f"{progress.last_loss:.4g}"
            raise NotFiniteError(
                f"the loss or its gradient became NaN or infinite at step {pending.step}, "
                f"epoch {pending.epoch + 1} (last finite loss: {good})",
                received=f"loss {result.loss}, gradient norm {result.gradient_norm}",
                next_step="lower train.learning_rate or raise train.warmup_ratio; no bad state was saved",
            )
        progress.last_loss = result.loss
        progress.loss_sum += result.loss * result.weight
        progress.loss_weight += result.weight
        self._window.append(result)
        if pending.step % max(1, self.total // STEP_EVENTS) == 0:
            self._log(pending)

    # ------------------------------------------------------------------------ log

    def _log(self, pending: _Pending) -> None:
        """Write a step event and show it: the mean since the one before."""
        weight = sum(result.weight for result in self._window)
        loss = sum(result.loss * result.weight for result in self._window) / weight if weight else 0.0
        seconds = self.progress.seconds.get("train", 0.0) - self._began_seconds
        examples = self.progress.examples - self._began_examples
        rate = round(examples / seconds, 2) if seconds >= RATE_AFTER_SECONDS else None
        self.hooks.event(
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
        self.hooks.show(self.progress, {"loss": loss, "rate": rate, "total": self.total})

    # ------------------------------------------------------------------------ after a failed update

    def stand(self) -> None:
        """Start from ``progress`` and the engine's state."""
        progress = self.progress
        self._plan_epoch, self._plan = progress.epoch, self.batches.plan(progress.epoch)
        self._window.clear()
        self._saved_step, self._saved_at = progress.step, self._clock()
        self._began_examples = progress.examples
        self._began_seconds = progress.seconds.get("train", 0.0)
        self._count_applied()

    def _count_applied(self) -> None:
        """Note the offset between the engine's count of updates and ours: a drop resets its count."""
        self._applied_before = (self.engine.applied() or 0) - self.progress.step

    @property
    def under_way(self) -> list[Update]:
        """Return the updates in which a failure may have occurred: the unread ones, and the prepared one."""
        return [*self._pending, *([self._laid_out] if self._laid_out else [])]

    def state_agrees(self) -> bool:
        """Return whether the engine's state includes exactly the updates that ``progress`` counts."""
        return self.engine.applied() == self._applied_before + self.progress.step

    def read_what_can_be_read(self, is_lost: Callable[[Exception], bool]) -> None:
        """Take in every dispatched update; one whose reading fails as ``is_lost`` tells is dropped."""
        while self._pending:
            try:
                self._read_next()
            except Exception as error:
                if not is_lost(error):
                    raise
                self._pending.popleft()
