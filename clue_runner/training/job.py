"""One run at work: its setup, engine and folder bound together, and what the loop asks of them.

In: the results of the earlier stages. Out: evaluations, saved states, the best weights restored.
Knows nothing about argv, or about how an update is computed.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from clue_runner.adapters.base import Predictions, Scores
from clue_runner.config.loader import config_hash
from clue_runner.console import Console
from clue_runner.console.signals import Signals
from clue_runner.engines.base import Engine
from clue_runner.runs.events import EventLog, Resume, Save, Warned, read_events
from clue_runner.runs.folder import RunFolder
from clue_runner.runs.machine import machine
from clue_runner.runs.progress import Progress
from clue_runner.runs.resume import load_tensors, newest_state
from clue_runner.runs.saving import Saved, StateWriter
from clue_runner.runs.states import PREFIX, VOCABULARY, SavedState, Snapshot
from clue_runner.tokens.batches import epoch_plan, split_batch, update_arrays, update_shape
from clue_runner.tokens.rows import Array, IntArray, Rows
from clue_runner.training.evaluation import (
    Predictor,
    Stopped,
    Stopwatch,
    answer_within_memory,
    smaller_batches,
)
from clue_runner.training.network import weights_header
from clue_runner.training.pretrained.weights import load_pretrained
from clue_runner.training.run_display import RunDisplay
from clue_runner.training.setup import Setup


class TrainBatches:
    """The train rows as updates: order from (seed, epoch), arrays on demand."""

    def __init__(self, setup: Setup) -> None:
        """Keep what the plans depend on."""
        self._setup = setup
        self._buckets = setup.buckets
        self._epoch: tuple[int, Rows] | None = None

    def plan(self, epoch: int) -> Sequence[IntArray]:
        """Return the rows of each update of an epoch."""
        run = self._setup.run
        return epoch_plan(self._rows(epoch), batch_size=run.train.examples, seed=run.seed, epoch=epoch)

    def shape(self, epoch: int, indices: IntArray, token_budget: int | None = None) -> tuple[int, int, int]:
        """Return (micro-batches, rows in each, padded length) of one update."""
        return update_shape(self._rows(epoch), indices, **self._cut(token_budget))

    def arrays(self, epoch: int, indices: IntArray, token_budget: int | None = None) -> Mapping[str, Array]:
        """Return the arrays of one update that the device needs, each (micro-batches, rows, ...)."""
        rows = self._rows(epoch)
        return split_batch(update_arrays(rows, indices, **self._cut(token_budget)), rows.host_columns)[0]

    def _cut(self, token_budget: int | None) -> dict[str, Any]:
        """Return the limits that split an update into micro-batches; ``token_budget``: what fits."""
        train = self._setup.run.train
        return {
            "batch_size": train.examples,
            "accumulate": train.accumulate,
            "token_budget": min(token_budget or train.token_budget, train.token_budget),
            "buckets": self._buckets,
        }

    def _rows(self, epoch: int) -> Rows:
        """Return the rows of an epoch, kept until another epoch is asked for."""
        if self._epoch is None or self._epoch[0] != epoch:
            setup = self._setup
            self._epoch = (epoch, setup.adapter.epoch_rows(setup.rows["train"], setup.run.seed, epoch))
        return self._epoch[1]


@dataclass
class Job:
    """Everything that one run holds while it works.

    Args:
        began: monotonic clock at the command's start.
        prepared: seconds until the first update could begin.
    """

    setup: Setup
    folder: RunFolder
    engine: Engine
    progress: Progress
    log: EventLog
    console: Console
    signals: Signals
    began: float
    prepared: float = 0.0

    def __post_init__(self) -> None:
        """Start the clocks of evaluation and prediction."""
        self._recall(self.progress)
        self.display = RunDisplay(self.console, self.setup, self.progress)
        self.evaluating = self._predictor()
        self.predicting = self._predictor()
        self._earlier = self.progress.seconds.get("total", 0.0)
        self._last_dev: tuple[int, Predictions] | None = None
        keep = self.setup.run.output.keep_checkpoints
        self.writer = StateWriter(self.folder.checkpoints, keep, self._note_saved)

    def warn(self, text: str, **fields: Any) -> None:
        """Tell the user and the event log."""
        self.console.warn(text)
        self.log.write(Warned(message=text, **fields), echo=False)

    # ------------------------------------------------------------------------ weights and states

    def begin(self) -> None:
        """Load the initial weights: pre-trained ones over random ones."""
        self.setup.start_engine(self.engine)
        self.load_pretrained()

    def load_pretrained(self) -> None:
        """Replace random weights with pre-trained ones, if there are any."""
        setup = self.setup
        if setup.checkpoint is not None:
            for name in load_pretrained(self.engine, setup.checkpoint, setup.run.model, setup.tokenizer):
                self.warn(f"{name} is not in the checkpoint and starts from random weights")

    def reload(self) -> Progress:
        """Restore the last saved state, or start over if there is none; return its place.

        Raises:
            CheckpointError: states were saved and none can be used.
        """
        self.settle_save(wait=True)
        snapshot = newest_state(self.folder, self.warn)
        if snapshot is None:
            self.begin()
        else:
            self.engine.set_state(snapshot.tensors())
        progress = progress_of(snapshot)
        self._recall(progress)
        self.log.write(Resume(step=progress.step, reason="out of memory"))
        return progress

    def _recall(self, progress: Progress) -> None:
        """Apply the batch sizes found to fit into memory: noted at once, but perhaps not saved since."""
        for event in read_events(self.folder.events):
            if isinstance(event, Warned):
                progress.token_budget = event.token_budget or progress.token_budget
                progress.evaluate_tokens = event.evaluate_tokens or progress.evaluate_tokens

    def save(self, progress: Progress, best: bool) -> None:
        """Copy the present state, which a thread writes while the run goes on.

        Raises:
            StorageError: the disk refused the state before it; those saved earlier are untouched.
        """
        started = time.monotonic()
        progress.seconds["total"] = self.total_seconds()
        self.writer.save(
            self.engine.get_state,
            self.state(),
            best=best,
            header=weights_header(self.setup.run, self.setup.vocab_size),
            # With the vocabulary beside it, a saved state is a checkpoint that another run can start from.
            files={VOCABULARY: self.setup.tokenizer.vocab_bytes},
        )
        progress.spend("save", time.monotonic() - started)

    def settle_save(self, *, wait: bool) -> None:
        """Take note of the state that was being written if it is whole by now; ``wait``: until it is.

        Raises:
            NotFiniteError, StorageError: it could not be saved; those saved earlier are untouched.
        """
        started = time.monotonic()
        self.writer.settle(wait=wait)
        if wait:
            self.progress.spend("save", time.monotonic() - started)

    def _note_saved(self, saved: Saved) -> None:
        """Tell of a state that is whole."""
        self.progress.spend("write", saved.seconds)
        self.log.write(Save(step=saved.step, folder=f"checkpoints/{saved.folder.name}", best=saved.best))

    def state(self) -> SavedState:
        """Return the content of ``state.json``."""
        setup, buckets = self.setup, self.setup.buckets
        return SavedState(
            progress=self.progress,
            identity=setup.identity,
            config_sha256=config_hash(setup.run),
            buckets=None if buckets is None else list(buckets),
            machine={**machine(setup.run.backend), **setup.choices.described()},
        )

    def restore_best(self) -> None:
        """Restore the best weights.

        Raises:
            CheckpointError: they are damaged.
        """
        best = self.progress.best_step
        if best is None or best == self.progress.step:
            return
        self.settle_save(wait=True)  # the best state may be the one that is being written
        self.engine.set_state(load_tensors(self.folder.checkpoints / f"{PREFIX}{best}"))

    def drop(self) -> None:
        """Start over from the best (averaged) weights, without moments; the average equals them."""
        self.restore_best()
        weights = self.engine.get_weights(averaged=True)
        fresh = {name: np.zeros_like(value) for name, value in self.engine.room().items()}
        self.engine.set_state(fresh)
        self.engine.set_weights(weights)

    # ------------------------------------------------------------------------ answers

    def evaluate(self) -> Scores:
        """Score dev with the present weights, averaged ones if there are any."""
        where = Stopped(f"during the evaluation of step {self.progress.step:,}; the state is saved")
        predictions = self._timed("dev", "evaluate", where)
        self._last_dev = (self.progress.step, predictions)
        return self.setup.adapter.score(predictions, self.setup.data.records["dev"])

    def best_dev(self) -> Predictions:
        """Return the best weights' answers to dev; reused if the last evaluation was the best."""
        if self._last_dev is not None and self._last_dev[0] == self.progress.best_step:
            return self._last_dev[1]
        return self.predict("dev")

    def predict(self, split: str) -> Predictions:
        """Answer one split with the present weights."""
        where = Stopped(f"while predicting {split}, after training; nothing is lost")
        return self._timed(split, "predict", where)

    def _timed(self, split: str, kind: str, where: Stopped) -> Predictions:
        """Answer one split; the time is added to ``kind``, without compilation."""
        predictor = self.evaluating if kind == "evaluate" else self.predicting
        started, compiled = time.monotonic(), predictor.watch.compiling
        label = "evaluating dev" if kind == "evaluate" else f"predicting {split}"

        def take_smaller(tokens: int) -> None:
            self.progress.evaluate_tokens = tokens
            self.evaluating = replace(self.evaluating, tokens=tokens)
            self.predicting = replace(self.predicting, tokens=tokens)
            self.warn(smaller_batches(split, tokens), evaluate_tokens=tokens)

        with self.display.answering(label, split) as show:
            predictions = answer_within_memory(
                predictor, self.setup.data.records[split], self.setup.rows[split], show, where, take_smaller
            )
        compiled = predictor.watch.compiling - compiled
        self.progress.spend("compile", compiled)
        self.progress.spend(kind, time.monotonic() - started - compiled)
        return predictions

    def _predictor(self) -> Predictor:
        """Return the function that answers splits, with its own clock."""
        train = self.setup.run.train
        return Predictor(
            self.engine,
            self.setup.adapter,
            self.progress.evaluate_tokens or train.evaluate_tokens,
            self.setup.buckets,
            train.ema is not None,
            self.signals,
            Stopwatch(),
            self.setup.choices.device.batches_at_once,
        )

    def total_seconds(self) -> float:
        """Return the time of this sitting and the saved part of the ones before."""
        return self._earlier + time.monotonic() - self.began


def progress_of(snapshot: Snapshot | None) -> Progress:
    """Return the progress of a saved state; the beginning if there is none."""
    return Progress() if snapshot is None else snapshot.state.progress
