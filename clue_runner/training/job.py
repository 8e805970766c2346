"""One run at work: engine, material and folder bound together, and what the loop asks of them.

In: what the stages before have made. Out: evaluations, saved states, the best weights put back.
Knows nothing about argv, or about how an update is computed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from clue_runner.adapters.base import Predictions, Scores
from clue_runner.config.loader import config_hash
from clue_runner.config.schema import Run
from clue_runner.console import Console
from clue_runner.engines.base import Engine
from clue_runner.engines.states import AVERAGE
from clue_runner.runs.events import EventLog, Resume, Save, Warned, read_events
from clue_runner.runs.folder import RunFolder
from clue_runner.runs.identity import Identity
from clue_runner.runs.machine import machine
from clue_runner.runs.progress import Progress
from clue_runner.runs.resume import load_tensors, newest_state
from clue_runner.runs.snapshots import BEST, LAST, point, prune, write_snapshot
from clue_runner.runs.states import PREFIX, VOCABULARY, SavedState
from clue_runner.tokens.batches import epoch_plan, update_arrays, update_shape
from clue_runner.tokens.rows import Array, IntArray, Rows
from clue_runner.training.evaluation import Predictor, Stopwatch
from clue_runner.training.network import Choices, weights_header
from clue_runner.training.out_of_memory import is_out_of_memory, smallest_step_error
from clue_runner.training.prepare import Material
from clue_runner.training.signals import Signals


class TrainBatches:
    """The train rows as updates: order from (seed, epoch), arrays on demand."""

    def __init__(self, material: Material, run: Run, buckets: tuple[int, ...] | None) -> None:
        """Keep what the plans follow from."""
        self._material = material
        self._run = run
        self._buckets = buckets
        self._epoch: tuple[int, Rows] | None = None

    def plan(self, epoch: int) -> Sequence[IntArray]:
        """Return the rows of each update of an epoch."""
        return epoch_plan(
            self._rows(epoch), batch_size=self._run.train.examples, seed=self._run.seed, epoch=epoch
        )

    def shape(self, epoch: int, indices: IntArray, token_budget: int | None = None) -> tuple[int, int, int]:
        """Return (micro-batches, rows in each, padded length) of one update."""
        return update_shape(self._rows(epoch), indices, **self._cut(token_budget))

    def arrays(self, epoch: int, indices: IntArray, token_budget: int | None = None) -> Mapping[str, Array]:
        """Return the arrays of one update, each (micro-batches, rows, ...)."""
        return update_arrays(self._rows(epoch), indices, **self._cut(token_budget))

    def _cut(self, token_budget: int | None) -> dict[str, Any]:
        """Return what cuts an update into micro-batches; ``token_budget``: what memory holds."""
        train = self._run.train
        return {
            "batch_size": train.examples,
            "accumulate": train.accumulate,
            "token_budget": min(token_budget or train.token_budget, train.token_budget),
            "buckets": self._buckets,
        }

    def _rows(self, epoch: int) -> Rows:
        """Return the rows of an epoch, kept until another one is asked for."""
        if self._epoch is None or self._epoch[0] != epoch:
            rows = self._material.adapter.epoch_rows(self._material.rows["train"], self._run.seed, epoch)
            self._epoch = (epoch, rows)
        return self._epoch[1]


@dataclass
class Job:
    """Everything that one run holds while it works.

    Args:
        began: monotonic clock at the command's start.
        prepared: seconds until the first update could begin.
        begin: give the engine the weights that training begins with.
    """

    run: Run
    material: Material
    identity: Identity
    folder: RunFolder
    engine: Engine
    choices: Choices
    buckets: tuple[int, ...] | None
    progress: Progress
    log: EventLog
    console: Console
    signals: Signals
    vocab_size: int
    began: float
    prepared: float = 0.0
    earlier: float = 0.0
    begin: Callable[[], None] = lambda: None

    def __post_init__(self) -> None:
        """Start the clocks of evaluation and prediction."""
        self._recall(self.progress)
        self.evaluating = self._predictor()
        self.predicting = self._predictor()
        self.earlier = self.progress.seconds.get("total", 0.0)
        self._last_dev: tuple[int, Predictions] | None = None

    def warn(self, text: str, **fields: Any) -> None:
        """Tell the user and the event log."""
        self.console.warn(text)
        self.log.write(Warned(message=text, **fields), echo=False)

    def evaluate(self) -> Scores:
        """Score dev with the present weights, averaged ones where they are kept."""
        watch, started = self.evaluating.watch, time.monotonic()
        compiled = watch.compiling
        records = self.material.data.records["dev"]
        predictions = self._answered(
            lambda: self.evaluating.answer(records, self.material.rows["dev"]), "dev"
        )
        self._last_dev = (self.progress.step, predictions)
        scores = self.material.adapter.score(predictions, records, self.material.card)
        compiled = watch.compiling - compiled
        self.progress.spend("compile", compiled)
        self.progress.spend("evaluate", time.monotonic() - started - compiled)
        return scores

    def _answered(self, answer: Callable[[], Predictions], split: str) -> Predictions:
        """Return what ``answer`` does, in smaller batches where memory ran out; they change no answer.

        Raises:
            OutOfMemoryError: one example at a time does not fit.
        """
        rows = self.material.rows[split]
        longest = max([int(rows.lengths.max(initial=1)), *(self.buckets or ())])
        while True:
            try:
                return answer()
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                problem = error.with_traceback(None)  # its frames hold what did not fit
            tokens = self.evaluating.tokens // 2
            if self.evaluating.tokens <= rows.largest_group * longest:
                raise smallest_step_error(problem, longest, training=False)
            self.progress.evaluate_tokens = tokens
            self.evaluating = replace(self.evaluating, tokens=tokens)
            self.predicting = replace(self.predicting, tokens=tokens)
            self.warn(
                f"out of memory while answering {split}: going on with at most {tokens:,} tokens in a batch",
                evaluate_tokens=tokens,
            )

    def reload(self) -> Progress:
        """Put the last saved state back, or begin again where there is none; return where that is.

        Raises:
            CheckpointError: states were saved and none can be used.
        """
        snapshot = newest_state(self.folder, self.warn)
        if snapshot is None:
            self.begin()
        else:
            self.engine.set_state(snapshot.tensors())
        progress = Progress() if snapshot is None else snapshot.state.progress
        self._recall(progress)
        self.log.write(Resume(step=progress.step, reason="out of memory"))
        return progress

    def _recall(self, progress: Progress) -> None:
        """Put in what memory was found to hold: it was noted at once, and perhaps not saved since."""
        for event in read_events(self.folder.events):
            if isinstance(event, Warned):
                progress.token_budget = event.token_budget or progress.token_budget
                progress.evaluate_tokens = event.evaluate_tokens or progress.evaluate_tokens

    def best_dev(self) -> Predictions:
        """Return the best weights' answers to dev; kept ones where the last evaluation was the best."""
        if self._last_dev is not None and self._last_dev[0] == self.progress.best_step:
            return self._last_dev[1]
        return self.predict("dev")

    def predict(self, split: str) -> Predictions:
        """Answer one split with the present weights."""
        records, rows = self.material.data.records[split], self.material.rows[split]
        watch, started = self.predicting.watch, time.monotonic()
        compiled = watch.compiling
        with self.console.progress(len(rows), f"predicting {split}") as bar:
            predictions = self._answered(lambda: self.predicting.answer(records, rows, bar.update), split)
        compiled = watch.compiling - compiled
        self.progress.spend("compile", compiled)
        self.progress.spend("predict", time.monotonic() - started - compiled)
        return predictions

    def save(self, progress: Progress, best: bool) -> None:
        """Keep the present state in the run folder.

        Raises:
            StorageError: the disk refused; states saved before are untouched.
        """
        progress.seconds["total"] = self.total_seconds()
        root = self.folder.checkpoints
        target = write_snapshot(
            root,
            self.engine.get_state(),
            self.state(),
            header=weights_header(self.run, self.vocab_size),
            # With the vocabulary beside, a saved state is a checkpoint that another run can begin from.
            files={VOCABULARY: self.material.tokenizer.vocab_bytes},
        )
        if best:
            point(root, BEST, target)
        point(root, LAST, target)
        prune(root, keep=self.run.output.keep_checkpoints, best_step=progress.best_step)
        self.log.write(Save(step=progress.step, folder=f"checkpoints/{target.name}", best=best))

    def state(self) -> SavedState:
        """Return the content of ``state.json``."""
        return SavedState(
            progress=self.progress,
            identity=self.identity,
            config_sha256=config_hash(self.run),
            buckets=None if self.buckets is None else list(self.buckets),
            machine={**machine(self.run.backend), **self.choices.described()},
        )

    def restore_best(self) -> None:
        """Put the best weights back.

        Raises:
            CheckpointError: they are damaged.
        """
        best = self.progress.best_step
        if best is None or best == self.progress.step:
            return
        self.engine.set_state(load_tensors(self.folder.checkpoints / f"{PREFIX}{best}"))

    def drop(self) -> None:
        """Begin anew from the best (averaged) weights, without moments; the average equals them."""
        self.restore_best()
        weights = self.engine.get_weights(averaged=True)
        fresh = {name: np.zeros_like(value) for name, value in self.engine.get_state().items()}
        for name, value in weights.items():
            fresh[name] = value
            if AVERAGE + name in fresh:
                fresh[AVERAGE + name] = value
        self.engine.set_state(fresh)

    def total_seconds(self) -> float:
        """Return the time of this sitting and the saved part of the ones before."""
        return self.earlier + time.monotonic() - self.began

    def _predictor(self) -> Predictor:
        """Return what answers splits, with a clock of its own."""
        return Predictor(
            self.engine,
            self.material.adapter,
            self.material.card,
            self.progress.evaluate_tokens or self.run.train.evaluate_tokens,
            self.buckets,
            self.run.train.ema is not None,
            self.signals,
            Stopwatch(),
        )
