"""Each rule against the library or the paper that defines it, on plain arrays; rates by name; Lookahead."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from clue_runner.engines.rates import rate_factors
from clue_runner.engines.rules import make_rule
from clue_runner.errors import UsageError

Array = np.ndarray[Any, Any]
STEPS = 6


def stepped(name: str, weight: Array, gradients: list[Array], rate: float, **values: Any) -> Iterator[Array]:
    """The weights after each step, in float32 on the backend's tensors."""
    from keras import ops

    decay = values.pop("weight_decay", 0.0)
    rule = make_rule(name, values, weight_decay=decay)
    weight = ops.convert_to_tensor(weight.astype(np.float32))
    slots = {slot: ops.zeros(shape, "float32") for slot, shape in rule.slots(tuple(weight.shape)).items()}
    for number, gradient in enumerate(gradients, 1):
        factor = rule.decay(np.float32(rate))
        weight = weight if factor is None else weight * factor
        size = rule.size(np.float32(rate), np.float32(number))
        weight, slots = rule.step(weight, ops.convert_to_tensor(gradient.astype(np.float32)), slots, size)
        yield np.asarray(ops.convert_to_numpy(weight))


def problem(shape: tuple[int, ...]) -> tuple[Array, list[Array]]:
    draw = np.random.default_rng(3)
    sizes = np.exp(draw.normal(-3, 2, shape))
    return draw.normal(size=shape), [draw.normal(size=shape) * sizes for _ in range(STEPS)]


def test_adafactor_by_hand() -> None:
    """Two steps as computed on paper for the recipe of the CLUE baselines."""
    found = stepped("adafactor", np.array([3.0, 4]), [np.array([1.0, -2]), np.array([0.5, 0.5])], 5e-4)
    np.testing.assert_allclose(next(found), [2.99982322, 4.00017678], atol=3e-7)
    np.testing.assert_allclose(next(found), [2.99954697, 4.00027082], atol=3e-7)


def adafactor(
    weight: Array, gradients: list[Array], rate: float, beta_1: float, factor_from: int
) -> Iterator[Array]:
    """bert4keras's ``AdaFactorV1.get_updates`` restated in double precision."""
    shape = np.array(weight.shape)
    order = shape.argsort(kind="stable")
    factored = weight.ndim > 1 and shape[order[-2]] >= factor_from
    squares, rows, columns, moment = np.zeros(weight.shape), 0.0, 0.0, np.zeros(weight.shape)
    for number, gradient in enumerate(gradients, 1):
        beta_2 = 1 - number**-0.8
        new = gradient**2 + 1e-30
        if factored:
            rows = beta_2 * rows + (1 - beta_2) * new.mean(axis=order[-1], keepdims=True)
            columns = beta_2 * columns + (1 - beta_2) * new.mean(axis=order[-2], keepdims=True)
            estimate = rows * columns / np.mean(rows, axis=order[-2], keepdims=True)
        else:
            estimate = squares = beta_2 * squares + (1 - beta_2) * new
        step = gradient / np.sqrt(estimate + 1e-30)
        step = step / max(1.0, np.sqrt(np.mean(step**2)))
        moment = beta_1 * moment + (1 - beta_1) * step
        weight = weight - rate * moment * max(np.sqrt(np.mean(weight**2)), 1e-3)
        yield weight


@pytest.mark.parametrize(("shape", "factor_from"), [((5, 7), 10**6), ((5, 7), 4), ((3, 9, 4), 4), ((6,), 1)])
@pytest.mark.parametrize("beta_1", [0.0, 0.9])
def test_adafactor_is_that_of_bert4keras(shape: tuple[int, ...], factor_from: int, beta_1: float) -> None:
    weight, gradients = problem(shape)
    found = stepped("adafactor", weight, gradients, 0.01, beta_1=beta_1, factor_from=factor_from)
    for ours, theirs in zip(found, adafactor(weight, gradients, 0.01, beta_1, factor_from), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=2e-6)


def keras_adafactor() -> Any:
    import keras

    return keras.optimizers.Adafactor(0.01)  # the root of 1 over the step stays above


def keras_lion() -> Any:
    import keras

    return keras.optimizers.Lion(0.01)


def keras_lamb() -> Any:
    import keras

    return keras.optimizers.Lamb(0.01, epsilon=1e-6)


@pytest.mark.parametrize(
    ("name", "make", "values"),
    [
        ("adafactor", keras_adafactor, {"beta_1": 0.0, "factor_from": 1}),
        ("lion", keras_lion, {}),
        ("lamb", keras_lamb, {}),
    ],
)
def test_rules_are_those_of_keras(name: str, make: Callable[[], Any], values: dict[str, Any]) -> None:
    import keras

    weight, gradients = problem((6, 5))
    variable, optimizer = keras.Variable(weight.astype(np.float32)), make()
    optimizer.build([variable])
    for ours, gradient in zip(stepped(name, weight, gradients, 0.01, **values), gradients, strict=True):
        optimizer.apply([keras.ops.convert_to_tensor(gradient.astype(np.float32))], [variable])
        np.testing.assert_allclose(ours, keras.ops.convert_to_numpy(variable), atol=2e-6)


def test_lamb_has_decay_in_its_direction() -> None:
    """Algorithm 2 of the paper, with weight decay; a weight of zeros takes Adam's step."""
    weight, gradients = problem((4, 3))
    for start in (weight, np.zeros((4, 3))):
        expected, first, second = start.copy(), np.zeros((4, 3)), np.zeros((4, 3))
        found = stepped("lamb", start, gradients, 0.01, weight_decay=0.3)
        for number, gradient in enumerate(gradients, 1):
            first = 0.9 * first + 0.1 * gradient
            second = 0.999 * second + 0.001 * gradient**2
            direction = first / (1 - 0.9**number) / (np.sqrt(second / (1 - 0.999**number)) + 1e-6)
            direction = direction + 0.3 * expected
            own, other = np.linalg.norm(expected), np.linalg.norm(direction)
            expected = expected - 0.01 * (own / other if own > 0 else 1.0) * direction
            np.testing.assert_allclose(next(found), expected, atol=3e-6)


NAMES = (
    "head/output/kernel",
    "backbone/pooler/kernel",
    "backbone/embeddings/word",
    "backbone/block_0/attention/query/kernel",
    "backbone/block_1/feed_forward/norm/scale",
)


def test_rates_fall_with_depth() -> None:
    """BEiT: decay to the power of (blocks + 1 - level)."""
    assert list(rate_factors(NAMES, 0.5).values()) == [1.0, 1.0, 0.125, 0.25, 0.5]
    assert set(rate_factors(NAMES, None).values()) == {1.0}


def test_rates_by_pattern_are_multiplied() -> None:
    found = rate_factors(NAMES, 0.5, (("head/*", 10.0), ("*kernel", 0.1), ("*/word", 0.0)))
    assert list(found.values()) == pytest.approx([1.0, 0.1, 0.0, 0.025, 0.5])
    with pytest.raises(UsageError, match="no weight matches this name") as refused:
        rate_factors(NAMES, None, (("heads/*", 2.0),))
    assert "heads/*" in str(refused.value) and refused.value.exit_code == 2
