from __future__ import annotations

import signal
import threading
from collections.abc import Mapping
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from clue_runner.console.signals import Signals
from clue_runner.data.records import Records, TextRecord
from clue_runner.errors import InterruptedRunError, NotFiniteError
from clue_runner.tokens.rows import Rows
from clue_runner.training.evaluation import Predictor


def rows_of(lengths: list[int]) -> Rows:
    offsets = np.concatenate(([0], np.cumsum(lengths))).astype(np.int64)
    order = np.arange(len(lengths), dtype=np.int64)
    ids = np.repeat(order, lengths).astype(np.int32)
    return Rows(
        offsets, {"token_ids": ids, "segment_ids": ids * 0}, {"label": order.astype(np.int32)}, order, order
    )


class Echo:
    """An adapter whose answer to a row is the row's own number, as the network saw it."""

    def decode_batch(self, outputs: Mapping[str, Any], batch: Mapping[str, Any]) -> list[float]:
        return [float(value) for value in outputs["first"]]

    def merge(self, partials: Mapping[int, Any], rows: Any, records: Any) -> Any:
        return [partials[index] for index in range(len(records))]


class EchoEngine:
    """Gives back each row's first token, and -7 for padding rows."""

    compilations = 0

    def __init__(self) -> None:
        self.batches = 0
        self.first = np.float32(0)

    def evaluate(self, batch: Mapping[str, Any], *, averaged: bool) -> Mapping[str, Any]:
        assert "row" not in batch
        self.batches += 1
        found = np.where(batch["weight"] > 0, batch["token_ids"][:, 0], -7).astype(np.float32) + self.first
        return {"first": found}


class SlowEngine(EchoEngine):
    """Answers a batch after the first only when another one is being answered too."""

    def __init__(self) -> None:
        super().__init__()
        self.pair = threading.Barrier(2, timeout=20)

    def evaluate(self, batch: Mapping[str, Any], *, averaged: bool) -> Mapping[str, Any]:
        if self.batches:
            self.pair.wait()
        return super().evaluate(batch, averaged=averaged)


@pytest.fixture
def asked() -> SimpleNamespace:
    lengths = [3, 7, 2, 5, 5, 1, 8, 4]
    engine, signals = EchoEngine(), Signals(lambda text: None)
    predictor = Predictor(engine, Echo(), 16, (4, 8), False, signals)  # type: ignore[arg-type]
    items = [TextRecord(index, ("a",), None, index + 1) for index in range(len(lengths))]
    records = Records("test", items, "test.json", "0", len(items))
    return SimpleNamespace(
        engine=engine, signals=signals, predictor=predictor, records=records, rows=rows_of(lengths)
    )


def test_answers_are_in_file_order_without_padding_rows(asked: SimpleNamespace) -> None:
    done: list[int] = []
    answers = asked.predictor.answer(asked.records, asked.rows, done.append)
    assert answers == [float(index) for index in range(8)]
    assert asked.engine.batches > 2
    assert done[-1] == 8
    assert asked.predictor.watch.examples == 8
    assert asked.predictor.watch.rate > 0


def test_a_signal_is_noticed_between_batches(asked: SimpleNamespace) -> None:
    def stop(done: int) -> None:
        asked.signals.requested = signal.SIGTERM

    with pytest.raises(InterruptedRunError) as caught:
        asked.predictor.answer(asked.records, asked.rows, stop)
    assert caught.value.exit_code == 143
    assert asked.engine.batches == 1


def test_nan_is_no_answer(asked: SimpleNamespace) -> None:
    asked.engine.first = np.float32("nan")
    with pytest.raises(NotFiniteError, match="test.json"):
        asked.predictor.answer(asked.records, asked.rows)


def test_batches_side_by_side_are_computed_together_and_answered_in_order(asked: SimpleNamespace) -> None:
    alone = asked.predictor.answer(asked.records, asked.rows)
    assert asked.engine.batches % 2 == 1  # the first one alone, and then pairs
    engine = SlowEngine()
    predictor = replace(asked.predictor, engine=engine, at_once=2)
    assert predictor.answer(asked.records, asked.rows) == alone
    assert engine.batches == asked.engine.batches


def test_a_signal_or_a_failure_ends_batches_side_by_side(asked: SimpleNamespace) -> None:
    predictor = replace(asked.predictor, at_once=2)

    def stop(done: int) -> None:
        asked.signals.requested = signal.SIGINT

    with pytest.raises(InterruptedRunError):
        predictor.answer(asked.records, asked.rows, stop)
    asked.signals.requested = None

    def fail(batch: Mapping[str, Any], *, averaged: bool) -> Mapping[str, Any]:
        if asked.engine.batches:
            raise MemoryError("no room")
        asked.engine.batches += 1
        return {"first": batch["token_ids"][:, 0].astype(np.float32)}

    asked.engine.evaluate, asked.engine.batches = fail, 0
    with pytest.raises(MemoryError):
        predictor.answer(asked.records, asked.rows)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("answers")]
