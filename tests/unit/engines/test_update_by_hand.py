"""One update restated in NumPy: gradient, clipping, AdamW or rectified Adam, decay, average.

In double precision, and without the project's own arithmetic. The raw gradient comes from a second engine
without memory (beta_1 of 0, no clipping, a learning rate of 0), and is itself held against differences of
the loss.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from support.engines import RATE, Update, make_engine, split, updates

from clue_runner.engines.states import STEP

Tensors = dict[str, np.ndarray[Any, Any]]
AVERAGE, MOMENTUM, VELOCITY = "ema/", "optimizer/momentum/", "optimizer/velocity/"
EPSILON = 1e-6
DEPTH = {"num_layers": 2}  # the last layer computes its first token alone
WEIGHTS = 5e-7  # a two-thousandth of a step; a norm's scale of 1 has digits of 1e-7
MOMENTS = 3e-5  # of the largest in their tensor
NOTHING = 1e-9  # a gradient that is 0 but for rounding; most are 1e-4 and more


@dataclass(frozen=True)
class Rule:
    """What a case sets, by our settings' names."""

    optimizer: str = "adamw"
    beta_1: float = 0.9
    beta_2: float = 0.999
    weight_decay: float = 0.1
    clip_norm: float | None = 0.02
    ema: float | None = 0.8
    ema_warmup: bool = False


def adaptive_step(rule: Rule, momentum: Any, velocity: Any, step: int) -> Any:
    """What is subtracted, for a learning rate of 1: Kingma and Ba 2015 section 2, Liu and others 2020.

    As in section 2's closing remark, epsilon is added before the bias of the second moment is corrected.
    """
    corrected = momentum / (1 - rule.beta_1**step)
    correction = math.sqrt(1 - rule.beta_2**step)
    root = (np.sqrt(velocity) + EPSILON) / correction
    if rule.optimizer == "adamw":
        return corrected / root
    longest = 2 / (1 - rule.beta_2) - 1
    length = longest - 2 * step * rule.beta_2**step / (1 - rule.beta_2**step)
    if length <= 4:
        return corrected
    rectification = math.sqrt(
        (length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length)
    )
    return rectification * corrected / root


def is_decayed(name: str) -> bool:
    """Tables and kernels are; biases and norms are not."""
    return name.split("/")[-1] not in {"bias", "scale", "offset"}


def average_decay(rule: Rule, step: int) -> float:
    assert rule.ema is not None
    return min(rule.ema, (1 + step) / (10 + step)) if rule.ema_warmup else rule.ema


def next_state(rule: Rule, before: Mapping[str, Any], gradients: Tensors, step: int) -> Tensors:
    """The state after an update whose raw gradients are given."""
    norm = math.sqrt(sum(float(np.sum(gradient**2)) for gradient in gradients.values()))
    factor = 1.0 if rule.clip_norm is None else min(1.0, rule.clip_norm / norm)
    state: Tensors = {}
    for name, raw in gradients.items():
        gradient = raw * factor
        weight = before[name].astype(np.float64)
        momentum = rule.beta_1 * before[MOMENTUM + name].astype(np.float64) + (1 - rule.beta_1) * gradient
        velocity = rule.beta_2 * before[VELOCITY + name].astype(np.float64) + (1 - rule.beta_2) * gradient**2
        decayed = weight * (1 - RATE * rule.weight_decay) if is_decayed(name) else weight
        state[name] = decayed - RATE * adaptive_step(rule, momentum, velocity, step)
        state[MOMENTUM + name], state[VELOCITY + name] = momentum, velocity
        if rule.ema is not None:
            keep = average_decay(rule, step)
            state[AVERAGE + name] = keep * before[AVERAGE + name] + (1 - keep) * state[name]
    return state


@pytest.fixture(scope="module")
def probe() -> tuple[Any, Tensors]:
    """An engine whose momentum after a step is that step's raw gradient, and its state before any."""
    engine = make_engine(beta_1=0.0, clip_norm=None, weight_decay=0.0, model=DEPTH)
    return engine, engine.get_state()


def raw_gradients(probe: tuple[Any, Tensors], weights: Tensors, update: Update) -> tuple[Tensors, float]:
    """The gradient of an update's loss at some weights, and the loss."""
    engine, blank = probe
    engine.set_state({**blank, **weights})
    loss = engine.step(update, update_index=0, learning_rate=0.0)().loss
    state = engine.get_state()
    assert all(np.array_equal(state[name], weights[name]) for name in weights)
    return {name: state[MOMENTUM + name].astype(np.float64) for name in weights}, loss


def test_the_gradient_is_that_of_the_loss(probe: tuple[Any, Tensors]) -> None:
    """Along random directions in one tensor at a time, by central differences."""
    (update,) = updates(1)
    generator = np.random.default_rng(4)
    weights = {  # far from the small initial ones, where attention hardly looks at its queries
        name: generator.normal(float(name.endswith("scale")), 0.3, value.shape).astype(np.float32)
        for name, value in probe[0].get_weights(averaged=False).items()
    }
    gradients, _ = raw_gradients(probe, weights, update)
    for name in weights:
        if name.endswith("attention/key/bias"):  # softmax takes no notice of it
            assert np.abs(gradients[name]).max() < 1e-6
            continue
        towards = np.sign(gradients[name]) * generator.uniform(0.5, 1.5, gradients[name].shape)
        slope = float(np.sum(gradients[name] * towards))
        length = 0.002 / slope
        ends = [
            raw_gradients(
                probe, {**weights, name: (weights[name] + side * towards).astype(np.float32)}, update
            )[1]
            for side in (length, -length)
        ]
        assert (ends[0] - ends[1]) / (2 * length) == pytest.approx(slope, rel=2e-3), name


CASES = {
    "adamw": Rule(),
    "adamw without clipping, short memories, the average warming up": Rule(
        beta_1=0.8, beta_2=0.95, clip_norm=None, ema=0.9999, ema_warmup=True
    ),
    "rectified Adam": Rule(optimizer="radam", beta_2=0.98),
}


@pytest.mark.parametrize("rule", CASES.values(), ids=CASES)
def test_every_tensor_after_a_step_is_what_numpy_says(probe: tuple[Any, Tensors], rule: Rule) -> None:
    engine = make_engine(epsilon=EPSILON, model=DEPTH, **vars(rule))
    start = engine.get_state()
    names = list(engine.get_weights(averaged=False))
    assert not any(start[kind + name].any() for kind in (MOMENTUM, VELOCITY) for name in names)
    assert all(np.array_equal(start[AVERAGE + name], start[name]) for name in names)
    assert start[STEP] == 0
    for index, batch in enumerate(updates(7)):  # rectified Adam changes its rule at the fifth step
        before = engine.get_state()
        gradients, loss = raw_gradients(probe, {name: before[name] for name in names}, batch)
        result = engine.step(split(batch, 2, 16), update_index=index, learning_rate=RATE)()
        after = engine.get_state()
        assert result.loss == pytest.approx(loss, abs=1e-6)
        norm = math.sqrt(sum(float(np.sum(gradient**2)) for gradient in gradients.values()))
        assert result.gradient_norm == pytest.approx(norm, rel=1e-5)
        assert rule.clip_norm is None or norm > 2 * rule.clip_norm
        expected = next_state(rule, before, gradients, index + 1)
        assert expected.keys() == after.keys() - {STEP}
        assert after[STEP] == index + 1
        for name, value in expected.items():
            largest = float(np.abs(value).max())
            limit = WEIGHTS
            if name.startswith(MOMENTUM):
                limit = MOMENTS * largest + NOTHING
            elif name.startswith(VELOCITY):
                limit = MOMENTS * largest + NOTHING**2
            difference = np.abs(after[name] - value).max()
            assert difference <= limit, f"{name}, step {index + 1}: {difference:.1e}"
