"""Update rules: found by the file's name, equal on numpy and tensors, honest about unused rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pydantic
import pytest
from small_networks import BACKEND, NETWORKS, random_update, settings

from clue_runner.engines import create_engine, rules
from clue_runner.engines.rules import make_rule, rule_names
from clue_runner.errors import UsageError

RATE = 3e-3
TABLE = "backbone/embeddings/word"

MOMENTUM_SGD = '''
"""Plain SGD with momentum."""
from pydantic import Field
from clue_runner.config.schema import Section, Share
from clue_runner.engines.rules.base import UpdateRule

class SgdSettings(Section):
    momentum: Share = Field(0.9, description="share of the last step that goes on")

class MomentumSgd(UpdateRule):
    settings_type = SgdSettings
    skips_unused_rows = True
    def slots(self, shape):
        return {"speed": shape}
    def size(self, rate, step):
        return rate
    def step(self, weight, gradient, slots, size):
        speed = slots["speed"] * self.settings.momentum + gradient
        return weight - size * speed, {"speed": speed}
'''

ROWS_AND_COLUMNS = '''
"""Mean squares of rows and columns instead of all elements; what it takes of a weight is the whole of it."""
from keras import ops
from clue_runner.config.schema import Section
from clue_runner.engines.rules.base import UpdateRule, square_root

class RowsAndColumns(UpdateRule):
    settings_type = Section
    def slots(self, shape):
        return {"row": shape[:-1], "column": shape[-1:]} if len(shape) > 1 else {"square": shape}
    def size(self, rate, step):
        return rate / step
    def decay(self, rate):
        return None  # inside the step
    def step(self, weight, gradient, slots, size):
        squares, length = gradient * gradient, square_root(ops.sum(weight * weight))
        if "square" in slots:
            kept = {"square": slots["square"] + squares}
            scale = square_root(kept["square"]) + 1e-6
        else:
            kept = {"row": slots["row"] + ops.mean(squares, -1), "column": slots["column"] + ops.mean(
                ops.reshape(squares, (-1, squares.shape[-1])), 0)}
            scale = square_root(kept["row"])[..., None] + square_root(kept["column"]) + 1e-6
        return weight - size * length * (gradient / scale + self.weight_decay * weight), kept
'''


def engine_of(rule: str, **changes: Any) -> Any:
    engine = create_engine(BACKEND)
    engine.init(lambda: NETWORKS["classification"]("float32"), settings(rule, **changes))
    return engine


def run(engine: Any, steps: int, micro_batches: int = 1, first: int = 0) -> None:
    for number in range(first, first + steps):
        update = random_update(number, micro_batches)
        assert engine.step(update, update_index=number, learning_rate=RATE)().finite


def test_the_files_are_the_names(add_module: Callable[..., None]) -> None:
    before = rule_names()
    assert {"adafactor", "adamw", "lamb", "lion", "radam"} <= set(before)
    add_module(rules, "momentum_sgd", MOMENTUM_SGD)
    assert rule_names() == tuple(sorted([*before, "momentum_sgd"]))


@pytest.mark.parametrize("name", ["adanw", "base", "../adamw", "", "adamw.os"])
def test_a_name_that_is_no_rule_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="no update rule called") as refused:
        make_rule(name, {})
    assert refused.value.exit_code == 2
    assert ", ".join(rule_names()) in str(refused.value) and "train.optimizer" in str(refused.value)


def test_settings_are_the_rules_own() -> None:
    rule = make_rule("adamw", {"beta_2": 0.95, "epochs": 3}, weight_decay=0.1)
    assert rule.settings.model_dump() == {"beta_1": 0.9, "beta_2": 0.95, "epsilon": 1e-6}
    assert (rule.weight_decay, rule.without_decay().weight_decay) == (0.1, 0.0)
    with pytest.raises(pydantic.ValidationError, match="beta_2"):
        make_rule("adamw", {"beta_2": 1.5})


@pytest.mark.parametrize("name", rule_names())
def test_numpy_and_tensors_agree(name: str) -> None:
    from keras import ops

    rule, draw = make_rule(name, {}), np.random.default_rng(1)
    arrays = [draw.normal(size=(7, 5)).astype(np.float32) for _ in range(2)]
    kept = {slot: np.square(draw.normal(size=shape)) for slot, shape in rule.slots((7, 5)).items()}
    kept = {slot: values.astype(np.float32) for slot, values in kept.items()}
    for step in (1.0, 50.0):
        size = rule.size(np.float32(0.1), np.float32(step))
        expected, slots = rule.step(*arrays, kept, size)
        tensors = {slot: ops.convert_to_tensor(values) for slot, values in kept.items()}
        found, others = rule.step(*map(ops.convert_to_tensor, arrays), tensors, size)
        np.testing.assert_allclose(np.asarray(found), np.asarray(expected), rtol=1e-5)
        for slot, values in slots.items():
            np.testing.assert_allclose(np.asarray(others[slot]), values, rtol=1e-5)


@pytest.mark.parametrize("name", [name for name in rule_names() if rules.rule_type(name).skips_unused_rows])
def test_rows_may_be_skipped_as_the_rule_promises(name: str) -> None:
    """A row alone has the bits that it has among others, and an unused row stays; width 5 leaves rests."""
    from keras import ops

    rule, draw = make_rule(name, {}), np.random.default_rng(2)
    weight, gradient = (draw.normal(size=(40, 5)).astype(np.float32) for _ in range(2))
    assert all(shape == (40, 5) for shape in rule.slots((40, 5)).values())
    kept = {slot: np.exp(draw.normal(-9, 4, (40, 5))).astype(np.float32) for slot in rule.slots((40, 5))}
    for array in (gradient, *kept.values()):
        array[30:] = 0

    def step(rows: Any) -> list[np.ndarray[Any, Any]]:
        some = [ops.convert_to_tensor(array[rows]) for array in (weight, gradient)]
        slots = {slot: ops.convert_to_tensor(array[rows]) for slot, array in kept.items()}
        stepped, slots = rule.step(*some, slots, rule.size(np.float32(0.01), np.float32(9)))
        return [np.asarray(array) for array in (stepped, *slots.values())]

    whole = step(np.arange(40))
    assert np.array_equal(whole[0][30:], weight[30:]) and not any(array[30:].any() for array in whole[1:])
    for rows in (np.arange(0, 40, 2), np.arange(3), np.array([7]), np.arange(39)):
        for array, others in zip(step(rows), whole, strict=True):
            assert array.tobytes() == others[rows].tobytes()


@pytest.mark.parametrize("micro_batches", [1, 3])
def test_a_made_up_rule_trains(add_module: Callable[..., None], micro_batches: int) -> None:
    """Its gradients are what its slots reveal; its steps are the formula, in double precision."""
    add_module(rules, "momentum_sgd", MOMENTUM_SGD)
    engine = engine_of("momentum_sgd", momentum=0.5, ema=0.9)
    run(engine, 3, micro_batches)
    before = engine.get_state()
    run(engine, 1, micro_batches, first=3)
    after = engine.get_state()
    for name in engine.get_weights(averaged=False):
        decayed = name.endswith("kernel") or "/embeddings/" in name and "norm" not in name
        start = before[name].astype(np.float64) * (1 - RATE * 0.01 if decayed else 1)
        speed = after[f"optimizer/speed/{name}"]
        np.testing.assert_allclose(after[name], start - RATE * speed, atol=1e-7, err_msg=name)
    assert np.abs(after[f"optimizer/speed/{TABLE}"]).max() > 1e-3
    engine.set_state(before)
    run(engine, 1, micro_batches, first=3)
    again = engine.get_state()
    assert all(again[name].tobytes() == after[name].tobytes() for name in after)


def test_a_made_up_rule_keeps_arrays_of_any_shape(add_module: Callable[..., None]) -> None:
    add_module(rules, "rows_and_columns", ROWS_AND_COLUMNS)
    engine = engine_of("rows_and_columns")
    run(engine, 3)
    state = engine.get_state()
    assert {name: value.shape for name, value in state.items() if name.endswith("word")} == {
        TABLE: (90, 20),
        f"optimizer/row/{TABLE}": (90,),
        f"optimizer/column/{TABLE}": (20,),
    }
    assert state["optimizer/square/head/output/bias"].shape == (3,)
    run(engine, 2, first=3)
    after = engine.get_state()
    engine.set_state(state)
    run(engine, 2, first=3)
    assert all(value.tobytes() == after[name].tobytes() for name, value in engine.get_state().items())


def test_both_kinds_of_slots_move_a_table_alike(add_module: Callable[..., None]) -> None:
    """With rows skipped or all of them stepped, TensorFlow does the same."""
    add_module(rules, "momentum_sgd", MOMENTUM_SGD)
    add_module(rules, "whole_sgd", MOMENTUM_SGD.replace("skips_unused_rows = True", ""))
    states = []
    for name in ("momentum_sgd", "whole_sgd"):
        engine = engine_of(name)
        run(engine, 12)
        states.append(engine.get_state())
    for name, value in states[0].items():
        np.testing.assert_allclose(value, states[1][name], atol=1e-6, err_msg=name)
