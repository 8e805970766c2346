"""Turns rows into answers: batches through the network without dropout, one prediction per record.

In: an engine, rows, records. Out: predictions in file order; no full score tensor is ever kept.
Knows nothing about run folders, training or what an answer means.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from clue_runner.adapters.base import Adapter, Predictions
from clue_runner.console.signals import AFTER_TRAINING, GO_ON, Signals
from clue_runner.data.records import Records
from clue_runner.engines.base import Engine
from clue_runner.errors import NotFiniteError
from clue_runner.tokens.batches import batch_arrays, evaluation_plan, split_batch
from clue_runner.tokens.rows import IntArray, Rows
from clue_runner.training.out_of_memory import is_out_of_memory, smallest_step_error

Computed = dict[str, Any]


@dataclass
class Stopwatch:
    """Rows and seconds of one kind of work, decoding included; compilation is counted separately."""

    examples: int = 0
    seconds: float = 0.0
    compiling: float = 0.0

    @property
    def rate(self) -> float | None:
        """Return examples per second; None where nothing was done."""
        return self.examples / self.seconds if self.seconds > 0 and self.examples else None


@dataclass(frozen=True)
class Stopped:
    """The message about work that a signal stops: how far it was, and what to do next."""

    where: str = AFTER_TRAINING
    next_step: str = GO_ON


@dataclass(frozen=True)
class Predictor:
    """Answers splits with one network.

    Args:
        tokens: most padded tokens in one batch.
        buckets: padded lengths; None: pad each batch to its longest row.
        averaged: use the EMA weights.
        signals: checked between batches.
        at_once: batches that are computed side by side; no answer depends on it.
    """

    engine: Engine
    adapter: Adapter
    tokens: int
    buckets: tuple[int, ...] | None
    averaged: bool
    signals: Signals
    watch: Stopwatch = field(default_factory=Stopwatch)
    at_once: int = 1

    def answer(
        self,
        records: Records[Any],
        rows: Rows,
        show: Callable[[int], None] = lambda done: None,
        stopped: Stopped = Stopped(),
    ) -> Predictions:
        """Return one prediction per record, in file order.

        Args:
            records: of one split.
            rows: theirs.
            show: told how many rows are answered.
            stopped: the message if a signal arrives.

        Raises:
            InterruptedRunError: a signal arrived between two batches.
            NotFiniteError: an output of the network is NaN.
        """
        partials: dict[int, Any] = {}
        plan = evaluation_plan(rows, tokens=self.tokens, buckets=self.buckets)
        started, compilations = time.monotonic(), self.engine.compilations
        self.signals.check(stopped.where, stopped.next_step)
        for batch, outputs in self._computed(rows, plan):
            now, compiled = time.monotonic(), self.engine.compilations
            if compiled > compilations:
                self.watch.compiling += now - started
            else:
                self.watch.seconds += now - started
                self.watch.examples += int(np.count_nonzero(batch["row"] >= 0))
            started, compilations = now, compiled
            _refuse_nan(outputs, records.shown)
            decoded = self.adapter.decode_batch(outputs, batch)
            partials |= {
                row: partial for row, partial in zip(batch["row"].tolist(), decoded, strict=True) if row >= 0
            }
            show(len(partials))
            if len(partials) < len(rows):
                self.signals.check(stopped.where, stopped.next_step)
        return self.adapter.merge(partials, rows, records)

    def _computed(self, rows: Rows, plan: Sequence[IntArray]) -> Iterator[tuple[Computed, Computed]]:
        """Yield (batch, outputs) in the plan's order; the next ones are computed while the caller decodes."""

        def compute(indices: IntArray) -> tuple[Computed, Computed]:
            batch = batch_arrays(rows, indices, tokens=self.tokens, buckets=self.buckets)
            sent, _ = split_batch(batch, rows.host_columns)
            outputs = self.engine.evaluate(sent, averaged=self.averaged)
            return batch, {name: np.asarray(values) for name, values in outputs.items()}

        if self.at_once == 1:
            yield from map(compute, plan)
            return
        # the first one alone: it may have to trace the graph, which threads must not do together
        yield from map(compute, plan[:1])
        with ThreadPoolExecutor(self.at_once, "answers") as pool:
            waiting: deque[Future[tuple[Computed, Computed]]] = deque()
            try:
                for indices in plan[1:]:
                    waiting.append(pool.submit(compute, indices))
                    if len(waiting) > self.at_once:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                for future in waiting:
                    future.cancel()


def answer_within_memory(
    predictor: Predictor,
    records: Records[Any],
    rows: Rows,
    show: Callable[[int], None],
    stopped: Stopped,
    take_smaller: Callable[[int], None],
) -> Predictions:
    """Answer one split, in smaller batches if memory ran out; they change no answer.

    Args:
        predictor: with the initial batch size.
        records: of one split.
        rows: theirs.
        show: told how many rows are answered.
        stopped: the message if a signal arrives.
        take_smaller: told the new number of tokens in a batch.

    Raises:
        OutOfMemoryError: one example at a time does not fit.
    """
    longest = max([int(rows.lengths.max(initial=1)), *(predictor.buckets or ())])
    while True:
        try:
            return predictor.answer(records, rows, show, stopped)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            problem = error.with_traceback(None)  # its frames hold what did not fit
        if predictor.tokens <= rows.largest_group * longest:
            raise smallest_step_error(problem, longest, training=False)
        predictor = replace(predictor, tokens=predictor.tokens // 2)
        take_smaller(predictor.tokens)


def smaller_batches(name: str, tokens: int) -> str:
    """Return the message when the batches of a split are made smaller."""
    return f"out of memory while answering {name}: continuing with at most {tokens:,} tokens in a batch"


def _refuse_nan(outputs: dict[str, Any], file: str) -> None:
    """Refuse outputs with NaN; infinities may be masks."""
    for name, values in outputs.items():
        if np.issubdtype(values.dtype, np.floating) and np.isnan(values).any():
            raise NotFiniteError(
                f"the network's answers to {file} are NaN or infinite ({name})",
                next_step="lower train.learning_rate or raise train.warmup_ratio",
            )
