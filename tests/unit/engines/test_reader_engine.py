"""The reader under the engine: bit-equal after a resume, learning, and both backends alike."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_networks import BACKEND, settings

from clue_runner.engines import create_engine
from clue_runner.models.dgcnn import ReaderShape, ReadingHead

SHAPE = ReaderShape(vocab_size=30, width=16)
VECTORS = np.random.default_rng(9).normal(size=(12, 6)).astype(np.float32)


def engine(
    precision: str = "float32", *, hybrid: bool = False, dropout: float = 0.1, beta_2: float = 0.999
) -> Any:
    chosen = settings(
        "radam", precision=precision, beta_2=beta_2, epsilon=1e-7, weight_decay=0.0,
        clip_norm=None, ema=0.99, seed=3, ema_warmup=True,
    )  # fmt: skip
    policy = {"float32": "float32", "bfloat16": "mixed_bfloat16"}[precision]
    found = create_engine(BACKEND)
    vectors, shape = VECTORS if hybrid else None, replace(SHAPE, dropout=dropout, gate_dropout=dropout)
    found.init(lambda: ReadingHead(shape, vectors, dtype_policy=policy, seed=1), chosen)
    return found


def update(number: int, micro: int = 1, *, hybrid: bool = False) -> dict[str, Any]:
    draw = np.random.default_rng(number)
    rows, length = 6, 24
    ids = draw.integers(1, 30, (micro, rows, length)).astype(np.int32)
    found = {
        "token_ids": ids,
        "question_ids": draw.integers(1, 30, (micro, rows, 8)).astype(np.int32),
        "start_tags": (ids == 7).astype(np.int16),
        "end_tags": (ids == 9).astype(np.int16),
        "lengths": np.full((micro, rows), length, np.int32),
        "weight": np.ones((micro, rows), np.float32),
    }
    if hybrid:
        found["word_ids"] = (ids % 12).astype(np.int32)
        found["question_words"] = (found["question_ids"] % 12).astype(np.int32)
    return found


def train(one: Any, first: int, last: int, **options: Any) -> list[float]:
    return [
        one.step(update(n, **options), update_index=n, learning_rate=1e-2)().loss for n in range(first, last)
    ]


@pytest.mark.parametrize(("precision", "micro", "hybrid"), [("float32", 1, True), ("bfloat16", 2, False)])
def test_a_resumed_run_is_bit_equal(precision: str, micro: int, hybrid: bool) -> None:
    whole, first, second = (engine(precision, hybrid=hybrid) for _ in range(3))
    train(whole, 0, 7, micro=micro, hybrid=hybrid)
    train(first, 0, 3, micro=micro, hybrid=hybrid)
    second.set_state(first.get_state())
    train(second, 3, 7, micro=micro, hybrid=hybrid)
    one, other = whole.get_state(), second.get_state()
    assert one.keys() == other.keys()
    assert all(np.array_equal(one[name], other[name]) for name in one)
    assert not any("vectors" in name for name in one)  # frozen vectors are no weights


def test_it_learns_and_the_average_follows() -> None:
    one = engine(beta_2=0.9)  # the shorter its memory, the sooner RAdam takes whole steps
    losses = train(one, 0, 60)
    assert np.mean(losses[-5:]) < 0.7 * np.mean(losses[:5])
    batch = {name: values[0] for name, values in update(99).items()}
    raw, averaged = (one.evaluate(batch, averaged=flag)["start"] for flag in (False, True))
    assert (raw != averaged).any()
    kinds = batch["token_ids"] == 7
    assert averaged[kinds].mean() > averaged[~kinds].mean() + 1


PROGRAM = """
import sys, numpy as np
sys.path.insert(0, sys.argv[2])
import test_reader_engine as t
one = t.engine(hybrid=True, dropout=0.0)
outputs = one.evaluate({k: v[0] for k, v in t.update(5, hybrid=True).items()}, averaged=False)
losses = t.train(one, 0, 3, hybrid=True)
np.savez(sys.argv[1], losses=losses, **outputs)
"""


@pytest.mark.skipif(BACKEND != "tensorflow", reason="compared once, from the TensorFlow side")
def test_both_backends_agree(tmp_path: Path) -> None:
    other = "jax"
    pytest.importorskip(other)
    environment = {**os.environ, "KERAS_BACKEND": other, "TF_CPP_MIN_LOG_LEVEL": "3"}
    target = tmp_path / "other.npz"
    subprocess.run(
        [sys.executable, "-c", PROGRAM, str(target), str(Path(__file__).parent)], env=environment, check=True
    )
    theirs = np.load(target)
    one = engine(hybrid=True, dropout=0.0)
    mine = one.evaluate({name: values[0] for name, values in update(5, hybrid=True).items()}, averaged=False)
    for name in ("gate", "start", "end"):
        np.testing.assert_allclose(mine[name], theirs[name], atol=1e-5)
    np.testing.assert_allclose(train(one, 0, 3, hybrid=True), theirs["losses"], rtol=1e-4)
