"""A state is all that later steps depend on: taking it out and putting it back changes no bit.

Whatever else decides a bit (which rows were ever used, in which order sums run, where an element stands)
would make a resumed run another one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from small_networks import BACKEND, NETWORKS, UNWEIGHTED, random_update, settings

from clue_runner.engines import create_engine
from clue_runner.engines.rules import rule_names, rule_type

STEPS, FEWER_STEPS = 150, 24  # 24 are two rounds through the tokens of ``random_update``
TABLE = "backbone/embeddings/word"
_ENGINES: dict[Any, tuple[Any, dict[str, Any]]] = {}


def engine_of(network: str, rule: str, precision: str = "float32") -> Any:
    """An engine at its beginning; what is compiled serves all tests of such a network and rule."""
    kind = network, rule, precision
    if kind not in _ENGINES:
        engine = create_engine(BACKEND)
        own = {"beta_2": 0.98} if "beta_2" in rule_type(rule).settings_type.model_fields else {}
        chosen = settings(rule, precision=precision, clip_norm=0.5, ema=0.9, seed=3, **own)
        engine.init(lambda: NETWORKS[network](precision), chosen)
        _ENGINES[kind] = engine, engine.get_state()
    engine, start = _ENGINES[kind]
    engine.set_state(start)
    return engine


def trained(engine: Any, *, renewed: bool, updates: Any = random_update, steps: int = STEPS) -> Any:
    """Losses, norms and the state after all steps, the state taken out and put back after each or never."""
    results = []
    for number in range(steps):
        results.append(engine.step(updates(number), update_index=number, learning_rate=3e-3)())
        if renewed:
            engine.set_state(engine.get_state())
    return [(one.loss, one.gradient_norm) for one in results], engine.get_state()


def differences(first: Any, second: Any) -> list[str]:
    """What is not the same bit for bit: ``figures``, or names in the state."""
    assert first[1].keys() == second[1].keys()
    names = [name for name, value in first[1].items() if value.tobytes() != second[1][name].tobytes()]
    return names if first[0] == second[0] else ["figures", *names]


# every network and every rule; ``scripts/check_history.py`` takes all pairs, and 150 steps of each
PAIRS = [(network, "adamw") for network in NETWORKS]
PAIRS += [("classification", rule) for rule in rule_names() if rule != "adamw"]
AT_ONCE = {("classification", "adamw"), ("tags", "adamw"), ("classification", "adafactor")}
MARKED = [pytest.param(*pair, marks=() if pair in AT_ONCE else pytest.mark.long) for pair in PAIRS]


@pytest.mark.parametrize(("network", "rule"), MARKED)
def test_a_state_put_back_after_every_step_changes_no_bit(network: str, rule: str) -> None:
    steps = STEPS if (network, rule) == ("classification", "adamw") else FEWER_STEPS
    unbroken = trained(engine_of(network, rule), renewed=False, steps=steps)
    assert np.isfinite(unbroken[0]).all() and max(norm for _, norm in unbroken[0]) > 0.5  # the clip bites
    assert not differences(unbroken, trained(engine_of(network, rule), renewed=True, steps=steps))


def test_rows_without_weight_are_looked_up_and_get_no_gradient() -> None:
    """What the test above relies on."""
    engine = engine_of("classification", "adamw")
    state = trained(engine, renewed=False, steps=12)[1]
    velocity = state[f"optimizer/velocity/{TABLE}"]
    assert not velocity[1 : UNWEIGHTED + 1].any() and velocity[UNWEIGHTED + 1 : -5].any(axis=1).all()


def faint_update(number: int) -> Any:
    """An update whose last row, with tokens of its own, weighs so little that squared gradients are 0."""
    update = random_update(number)
    update["weight"][:, -1] = 1e-30
    return update


def test_a_row_whose_squared_gradient_underflows_goes_on() -> None:
    """Its momentum lives while its velocity is 0: a row is used as long as any slot says so."""
    unbroken = trained(engine_of("classification", "adamw"), renewed=False, updates=faint_update, steps=20)
    rows = range(1, UNWEIGHTED + 1)
    assert unbroken[1][f"optimizer/momentum/{TABLE}"][rows].any(axis=1).all()
    assert not unbroken[1][f"optimizer/velocity/{TABLE}"][rows].any()
    again = trained(engine_of("classification", "adamw"), renewed=True, updates=faint_update, steps=20)
    assert not differences(unbroken, again)


@pytest.mark.parametrize("network", ["classification", "tags", "reader"])
def test_a_norm_does_not_depend_on_what_was_read_before(network: str) -> None:
    """The same weights and the same update: the same bits, whatever other rows the engine has seen."""
    engine = engine_of(network, "adamw")
    start = engine.get_weights(averaged=False)
    fresh = []
    for number in range(10):
        engine = engine_of(network, "adamw")
        fresh.append(engine.step(random_update(number), update_index=0, learning_rate=3e-3)())
    engine = engine_of(network, "adamw")
    for number in range(10):
        engine.set_weights(start)
        assert engine.step(random_update(number), update_index=0, learning_rate=3e-3)() == fresh[number]
