"""The reader under the engine: bit-equal after a resume, and learning."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from support.engines import settings, start

from clue_runner.architectures.base import load_architecture
from clue_runner.architectures.settings import make_shape

VECTORS = np.random.default_rng(9).normal(size=(12, 6)).astype(np.float32)


def engine(
    precision: str = "float32", *, hybrid: bool = False, dropout: float = 0.1, beta_2: float = 0.999
) -> Any:
    wanted = settings(
        precision=precision, beta_2=beta_2, epsilon=1e-7, weight_decay=0.0, clip_norm=None, ema=0.99, seed=3,
        optimizer="radam", ema_warmup=True,
    )  # fmt: skip
    shape = make_shape("dgcnn", hidden_dim=16, dropout=dropout, head_dropout=dropout)
    vectors, build = VECTORS if hybrid else None, load_architecture("dgcnn").build
    return start(lambda: build(shape, 30, precision=precision, seed=1, vectors=vectors), wanted)


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
    whole = engine(precision, hybrid=hybrid)
    train(whole, 0, 3, micro=micro, hybrid=hybrid)
    state = whole.get_state()
    train(whole, 3, 6, micro=micro, hybrid=hybrid)
    one = whole.get_state()
    # an engine of its own where that is cheap, the same one at another place in its life where it is not
    second = engine(precision, hybrid=hybrid) if micro == 1 else whole
    second.set_state(state)
    train(second, 3, 6, micro=micro, hybrid=hybrid)
    other = second.get_state()
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
