"""FGM and gradient penalty against differences of the loss; R-Drop and Lookahead restated; refusals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from small_networks import NETWORKS, random_update, settings
from support.combinations import MODES, outcome_of
from support.engines import BACKEND
from test_rules import MOMENTUM_SGD
from test_techniques import undropped

from clue_runner.config.schema import Section
from clue_runner.engines import compiled, create_engine, rules
from clue_runner.engines.techniques import make_techniques
from clue_runner.engines.techniques.base import Gradients, Pass, Technique
from clue_runner.errors import UsageError
from clue_runner.models.dropout import fold, update_keys

EPSILON = 0.5
KERNEL = "backbone/block_0/attention/value/kernel"


class Lengths(Technique):
    """Tells sums over rows of the gradient's length and of its square in the place of loss and weight."""

    settings_type = Section

    def __call__(self, once: Pass, batch: Any, key: Any) -> Gradients:
        from keras import ops

        gradients = once(batch, key, 0.0)
        squares = ops.sum(ops.square(gradients.noise), axis=(1, 2))
        return gradients._replace(loss=ops.sum(ops.sqrt(squares)), weight=1 / ops.sum(squares))


def engine_of(
    used: tuple[Technique, ...] = (), network: Any = None, rule: str = "adamw", **changes: Any
) -> Any:
    engine = create_engine(BACKEND)
    engine.init(network or undropped, settings(rule, techniques=used, **changes))
    return engine


def made(**values: Any) -> tuple[Technique, ...]:
    return make_techniques(values)


def result(engine: Any, update: Any, rate: float = 0.0) -> Any:
    return engine.step(update, update_index=0, learning_rate=rate)()


@pytest.fixture(scope="module")
def plain_and_lengths() -> Any:
    """What an update gives without a technique, and what ``Lengths`` tells of it."""
    return result(engine_of(), random_update(3)), result(engine_of((Lengths(Section()),)), random_update(3))


def test_fgm_climbs_by_each_rows_own_gradient(plain_and_lengths: Any) -> None:
    """A short step raises the loss by its length times the sum of the rows' gradients."""
    update, (found, told) = random_update(3), plain_and_lengths
    plain = found.loss
    lengths = told.loss * told.weight / found.weight
    short = result(engine_of(made(fgm=1e-2)), update).loss
    assert (short - plain) / 1e-2 == pytest.approx(lengths, rel=0.02)
    both = result(engine_of(made(fgm=1e-2, fgm_clean=True)), update)
    assert both.loss == pytest.approx((plain + short) / 2, rel=1e-6)
    assert both.weight == 2 * told_weight(update)


def told_weight(update: Any) -> float:
    return float(update["weight"].sum())


def test_the_penalty_is_half_of_each_rows_squared_gradient_and_has_its_slope(
    add_module: Callable[..., None], plain_and_lengths: Any
) -> None:
    """The value from the first gradient; its slope, from what plain SGD moves, by central differences."""
    add_module(rules, "momentum_sgd", MOMENTUM_SGD)
    update = random_update(3)
    untouched, told = plain_and_lengths
    plain = {"rule": "momentum_sgd", "momentum": 0.0, "weight_decay": 0.0, "clip_norm": None}
    engine = engine_of(made(gradient_penalty=EPSILON), **plain)
    before = engine.get_weights(averaged=False)
    found = result(engine, update, rate=1.0)
    expected = 0.5 * EPSILON / told.weight / told_weight(update)
    assert found.loss - untouched.loss == pytest.approx(expected, rel=2e-4)
    slopes = {name: before[name] - value for name, value in engine.get_weights(averaged=False).items()}
    for name in (KERNEL, "backbone/embeddings/word", "backbone/pooler/kernel", "head/output/kernel"):
        slope, sides = np.linalg.norm(slopes[name]), []
        assert slope > 1e-4
        for step in (2e-2, -2e-2):
            engine.set_weights(before | {name: before[name] + np.float32(step) / slope * slopes[name]})
            sides.append(result(engine, update).loss)
        assert (sides[0] - sides[1]) / 4e-2 == pytest.approx(slope, rel=0.02), name


@pytest.mark.long
@pytest.mark.parametrize(
    "used", [{"fgm": 0.3, "label_smoothing": 0.1, "focal": 1.5}, {"gradient_penalty": 0.2}], ids=list
)
def test_losses_stay_the_same_for_any_split(used: dict[str, float]) -> None:
    """Everything that is taken row by row, without dropout: its masks would differ.

    R-Drop has nothing to take without it; scripts/check_techniques.py combines all of them.
    """
    results = []
    engine = engine_of(made(**used), lookahead=2)
    start = engine.get_state()
    for parts in (1, 3):
        engine.set_state(start)
        losses = []
        for number in range(3):
            update = {
                name: value.reshape(parts, value.shape[1] // parts, *value.shape[2:])
                for name, value in random_update(number).items()
            }
            losses.append(engine.step(update, update_index=number, learning_rate=3e-3)().loss)
        results.append((losses, engine.get_weights(averaged=False)))
    (whole, weights), (split, others) = results
    assert split == pytest.approx(whole, rel=1e-5)
    assert max(float(np.abs(value - others[name]).max()) for name, value in weights.items()) < 5e-6


def test_r_drop_is_the_mean_of_two_passes_and_what_is_between_them() -> None:
    """Two passes with the technique's own keys, on the network itself."""
    update = random_update(5)
    found = result(engine_of(made(r_drop=4.0), network=lambda: NETWORKS["classification"]("float32")), update)
    network = NETWORKS["classification"]("float32")
    batch = {name: value[0] for name, value in update.items()}
    both = compiled(
        BACKEND, network, lambda key: [network.logits(batch, one) for one in (key, fold(key, "r_drop"))]
    )
    logits = [np.asarray(one, np.float64) for one in both(update_keys(42, 0, 1)[0])]
    logs = [one - np.log(np.exp(one).sum(-1, keepdims=True)) for one in logits]
    label, weight = update["label"][0], update["weight"][0]
    errors = [-one[np.arange(len(label)), label] for one in logs]
    apart = ((np.exp(logs[0]) - np.exp(logs[1])) * (logs[0] - logs[1])).sum(-1)
    expected = ((errors[0] + errors[1]) / 2 + apart) @ weight / weight.sum()
    assert np.abs(apart).max() > 1e-6
    assert found.loss == pytest.approx(expected, rel=1e-5)


def test_lookahead_and_average_under_accumulation(add_module: Callable[..., None]) -> None:
    """Restated in double precision from the gradients that plain SGD keeps."""
    add_module(rules, "momentum_sgd", MOMENTUM_SGD)
    plain = {"rule": "momentum_sgd", "momentum": 0.0, "weight_decay": 0.0}
    engine = engine_of(lookahead=2, lookahead_share=0.3, ema=0.8, **plain)
    weights = engine.get_weights(averaged=False)
    fast, slow, average = (
        {name: value.astype(np.float64) for name, value in weights.items()} for _ in range(3)
    )
    for number in range(4):
        engine.step(random_update(number, 2), update_index=number, learning_rate=0.1)()
        state = engine.get_state()
        for name in weights:
            fast[name] = fast[name] - 0.1 * state[f"optimizer/speed/{name}"]
            if number % 2:
                fast[name] = slow[name] = slow[name] + 0.3 * (fast[name] - slow[name])
            average[name] = 0.8 * average[name] + 0.2 * fast[name]
            np.testing.assert_allclose(state[name], fast[name], atol=2e-6, err_msg=name)
            np.testing.assert_allclose(state[f"optimizer/slow/{name}"], slow[name], atol=2e-6, err_msg=name)
            np.testing.assert_allclose(state[f"ema/{name}"], average[name], atol=2e-6, err_msg=name)


@pytest.mark.long
def test_rates_reach_the_weights(add_module: Callable[..., None]) -> None:
    """Plain SGD: a factor of 0 keeps a weight, a factor of 3 moves it three times as far."""
    add_module(rules, "momentum_sgd", MOMENTUM_SGD)
    moves = []
    for rates in ((), (("head/*", 3.0), ("*/word", 0.0))):
        engine = engine_of(rule="momentum_sgd", momentum=0.0, weight_decay=0.0, rates=rates)
        before = engine.get_weights(averaged=False)
        result(engine, random_update(1), rate=0.1)
        after = engine.get_weights(averaged=False)
        moves.append({name: after[name].astype(np.float64) - before[name] for name in before})
    np.testing.assert_allclose(moves[1]["head/output/kernel"], 3 * moves[0]["head/output/kernel"], atol=1e-7)
    np.testing.assert_allclose(moves[1][KERNEL], moves[0][KERNEL], atol=1e-8)
    assert np.abs(moves[0]["backbone/embeddings/word"]).max() > 0
    assert not moves[1]["backbone/embeddings/word"].any()


@pytest.mark.parametrize(
    ("network", "techniques", "words"),
    [
        ("chain of tags", ("label_smoothing", "focal", "r_drop"), "a chain of tags is scored as a whole"),
        ("pointer", ("label_smoothing", "focal", "r_drop"), "there are no classes"),
        ("border answer", ("label_smoothing", "focal"), "most of which cannot be the answer"),
        ("reader", ("fgm", "gradient_penalty"), "no backbone whose embedded tokens"),
        ("reader", ("r_drop", "multi_sample_dropout", "focal"), "opaque to techniques"),
    ],
)
def test_heads_refuse_what_they_cannot_have(network: str, techniques: tuple[str, ...], words: str) -> None:
    built = NETWORKS[network]("float32")
    for name in techniques:
        value = {"multi_sample_dropout": 2}.get(name, 0.5)
        (technique,) = make_techniques({name: value})
        with pytest.raises(UsageError, match=words) as refused:
            technique.prepare(built)
        assert refused.value.exit_code == 2 and f"train.{name}" in str(refused.value)


@pytest.mark.long
@pytest.mark.parametrize("network", ["choice", "border answer"])
def test_r_drop_and_several_masks_train_the_heads_that_can_have_them(network: str) -> None:
    used = made(r_drop=4.0, multi_sample_dropout=2)
    engine = engine_of(used, network=lambda: NETWORKS[network]("float32"))
    update = random_update(2)
    found = result(engine, update, rate=1e-3)
    assert found.finite and found.loss > 0 and found.gradient_norm > 0
    built = NETWORKS[network]("float32")
    batch = {name: value[0] for name, value in update.items()}
    loss, weight = compiled(BACKEND, built, lambda key: built.loss(batch, key))(update_keys(42, 0, 1)[0])
    assert found.loss != pytest.approx(float(loss / weight), rel=1e-4) and found.weight == float(weight)


SOME = (("fgm", "r_drop"), ("gradient_penalty", "drop_tokens"), ("lookahead", "ema"))


@pytest.mark.long
@pytest.mark.parametrize(("names", "mode"), list(zip(SOME, MODES, strict=True)))
def test_combinations_go_on_with_the_same_bits(names: tuple[str, ...], mode: str) -> None:
    """A few of those that scripts/check_techniques.py tries."""
    assert outcome_of(names, mode).kind == "same"
