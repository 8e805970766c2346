"""Techniques: passes with noise and their gradients, sums that no split changes, one in another."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pydantic
import pytest
from small_networks import BACKEND, LENGTH, NETWORKS, ROWS, WIDTH, random_update, settings

from clue_runner.adapters.sections import load_run
from clue_runner.config.schema import Section
from clue_runner.engines import compiled, create_engine, techniques
from clue_runner.engines.techniques import make_technique, technique_names
from clue_runner.engines.techniques.base import Gradients, Pass, Technique
from clue_runner.errors import UsageError
from clue_runner.models.heads.base import NOISE

LONG = 16  # tokens, of which DropToken leaves some out
LONG_DIRECTION = np.random.default_rng(5).normal(size=(ROWS, LONG, WIDTH)).astype(np.float32)
DIRECTION = LONG_DIRECTION[:, :LENGTH]

ALONG_THE_GRADIENT = '''
"""Moves each row's embedded tokens along their gradient, a step of one length for each row."""
from keras import ops
from pydantic import Field
from clue_runner.config.schema import Section
from clue_runner.engines.techniques.base import Technique

class StepSettings(Section):
    along_the_gradient: float | None = Field(None, description="length of the step; null: off")

class AlongTheGradient(Technique):
    settings_type = StepSettings
    def __call__(self, once, batch, key):
        first = once(batch, key, 0.0)
        norm = ops.sqrt(ops.sum(ops.square(first.noise), axis=(1, 2), keepdims=True))
        second = once(batch, key, self.settings.along_the_gradient * first.noise / ops.maximum(norm, 1e-12))
        return first.plus(second)
'''


class Moved(Technique):
    """One pass, moved by one more column of the batch."""

    settings_type = Section

    def __call__(self, once: Pass, batch: Any, key: Any) -> Gradients:
        return once(batch, key, batch["direction"])


class Slope(Technique):
    """Tells the gradient with respect to the noise along that column, in the place of the loss."""

    settings_type = Section

    def __call__(self, once: Pass, batch: Any, key: Any) -> Gradients:
        from keras import ops

        gradients = once(batch, key, 0.0)
        assert gradients.noise is not None and gradients.noise.shape[-1] == WIDTH
        return gradients._replace(loss=ops.sum(gradients.noise * batch["direction"]))


def with_direction(update: Any, direction: Any) -> Any:
    return update | {"direction": direction[None]}


class Twice(Technique):
    """Two equal passes, added."""

    settings_type = Section

    def __call__(self, once: Pass, batch: Any, key: Any) -> Gradients:
        return once(batch, key, None).plus(once(batch, key, None))


SLOPE, MOVED, TWICE = Slope(Section()), Moved(Section()), Twice(Section())


def engine_of(*used: Technique, network: str = "classification", build: Any = None, **changes: Any) -> Any:
    engine = create_engine(BACKEND)
    engine.init(build or (lambda: NETWORKS[network]("float32")), settings(techniques=used, **changes))
    return engine


def loss_of(engine: Any, update: Any) -> float:
    return float(engine.step(update, update_index=0, learning_rate=0.0)().loss)


def difference(moved: Any, update: Any, direction: Any, *, at: float = 0.0, width: float = 1e-3) -> float:
    """The loss's slope along a direction by central differences, ``at`` steps away from no noise."""
    ahead, behind = (
        loss_of(moved, with_direction(update, np.float32(at + step) * direction)) for step in (width, -width)
    )
    return (ahead - behind) / (2 * width)


def recomputing(recompute: str, drop_share: float) -> Callable[[], Any]:
    """What builds a classifier with dropout, recomputed or not, with DropToken or not."""
    from clue_runner.architectures.settings import build_backbone
    from clue_runner.models.heads.labels import ClassificationHead

    shape = {"num_layers": 1, "hidden_dim": WIDTH, "num_heads": 2, "intermediate_dim": 28}
    overrides = [f"model.{name}={value}" for name, value in (shape | {"recompute": recompute}).items()]
    model = load_run(task="afqmc", card_settings={}, model="test", overrides=overrides).model
    return lambda: ClassificationHead(
        build_backbone(model, 90, precision="float32", seed=1), 3, pooling="mean", drop_share=drop_share
    )


_STILL: dict[Any, Any] = {}


def still(used: Technique, recompute: str = "none", drop_share: float = 0.0) -> Any:
    """An engine for updates at a rate of 0, which leave its weights: it serves all tests that name it so."""
    name = used, recompute, drop_share
    if name not in _STILL:
        _STILL[name] = engine_of(used, build=recomputing(recompute, drop_share))
    return _STILL[name]


# without either: ``test_techniques_are_nested_the_first_outermost``
@pytest.mark.parametrize(("recompute", "drop_share"), [("sublayer", 0.0), ("block", 0.4)])
def test_the_gradient_of_noise_is_the_losses_slope(recompute: str, drop_share: float) -> None:
    """Against central differences, with dropout on: the same key draws the same masks."""
    update = random_update(3, length=LONG)
    slope = loss_of(still(SLOPE, recompute, drop_share), with_direction(update, LONG_DIRECTION))
    assert abs(slope) > 0.02
    moved = still(MOVED, recompute, drop_share)
    assert slope == pytest.approx(difference(moved, update, LONG_DIRECTION), rel=0.02)


def test_dropped_tokens_have_no_gradient_of_noise() -> None:
    """A share of 0.4 of the longest row goes; its first token stays."""
    update, slopes = random_update(3, length=LONG), []
    row = int(update["lengths"][0, :-1].argmax())
    engine = still(SLOPE, "block", 0.4)
    for place in range(int(update["lengths"][0, row])):
        direction = np.zeros_like(LONG_DIRECTION)
        direction[row, place] = LONG_DIRECTION[row, place]
        slopes.append(loss_of(engine, with_direction(update, direction)))
    assert slopes[0] != 0 and sum(slope == 0 for slope in slopes) == int(0.4 * len(slopes))


@pytest.mark.parametrize("network", [name for name in NETWORKS if name != "reader"])
def test_every_network_with_a_backbone_takes_noise(network: str) -> None:
    """Its loss, which is all that the passes above call."""
    built = NETWORKS[network]("float32")
    loss = compiled(BACKEND, built, lambda batch, noise: built.loss({**batch, NOISE: noise})[0])
    batch = {name: values[0] for name, values in random_update(2).items()}
    moved, unmoved = (float(loss(batch, noise)) for noise in (DIRECTION, 0 * DIRECTION))
    assert moved != pytest.approx(unmoved, rel=1e-4)


def test_no_noise_is_noise_of_0() -> None:
    update = random_update(2)
    unmoved = loss_of(still(MOVED), with_direction(update, 0 * DIRECTION))
    assert loss_of(engine_of(build=recomputing("none", 0.0)), update) == pytest.approx(unmoved, rel=1e-6)


def test_a_network_without_a_backbone_refuses_noise() -> None:
    with pytest.raises(UsageError, match="embedded tokens cannot be perturbed") as refused:
        loss_of(engine_of(SLOPE, network="reader"), random_update(2))
    assert refused.value.exit_code == 2


def test_added_passes_are_one_pass() -> None:
    """Twice the gradients over twice the weights: dense weights and the rows of tables."""
    states = []
    for used in ((), (TWICE,)):
        engine = engine_of(*used)
        for number in range(3):
            update = random_update(number, micro_batches=2)
            assert engine.step(update, update_index=number, learning_rate=3e-3)().finite
        states.append(engine.get_weights(averaged=False))
    for name, value in states[0].items():
        np.testing.assert_allclose(value, states[1][name], atol=1e-6, err_msg=name)


def test_a_made_up_technique_is_found(add_module: Callable[..., None]) -> None:
    before = technique_names()
    add_module(techniques, "along_the_gradient", ALONG_THE_GRADIENT)
    assert set(technique_names()) == {*before, "along_the_gradient"}
    technique = make_technique("along_the_gradient", {"along_the_gradient": 0.25, "epochs": 3})
    assert technique.settings.model_dump() == {"along_the_gradient": 0.25}
    with pytest.raises(pydantic.ValidationError, match="along_the_gradient"):
        make_technique("along_the_gradient", {"along_the_gradient": "long"})
    with pytest.raises(UsageError, match="no technique called 'along'") as refused:
        make_technique("along", {})
    assert "along_the_gradient" in str(refused.value)


def split(update: Any, micro_batches: int) -> Any:
    return {
        name: values.reshape(micro_batches, ROWS // micro_batches, *values.shape[2:])
        for name, values in update.items()
    }


def test_a_made_up_technique_gives_the_same_for_any_split(add_module: Callable[..., None]) -> None:
    add_module(techniques, "along_the_gradient", ALONG_THE_GRADIENT)
    engines, results = {}, {}
    for length, micro_batches in ((0.5, 1), (0.5, 3), (0.0, 1)):
        if length not in engines:
            technique = make_technique("along_the_gradient", {"along_the_gradient": length})
            engines[length] = engine_of(technique, build=undropped, ema=0.9)
            start = engines[length].get_state()
        engine = engines[length]
        engine.set_state(start)
        for number in range(4):
            update = split(random_update(number), micro_batches)
            assert engine.step(update, update_index=number, learning_rate=3e-3)().finite
        results[length, micro_batches] = engine.get_weights(averaged=False)
    whole = results[0.5, 1]
    for key, weights in results.items():
        difference = max(float(np.abs(value - whole[name]).max()) for name, value in weights.items())
        assert difference > 1e-4 if key == (0.0, 1) else difference <= 2e-6


def undropped() -> Any:
    """A classifier without dropout."""
    from clue_runner.architectures.settings import build_backbone
    from clue_runner.models.heads.labels import ClassificationHead

    shape = {"num_layers": 1, "hidden_dim": WIDTH, "num_heads": 2, "intermediate_dim": 28}
    shape |= {"dropout": 0, "attention_dropout": 0}
    overrides = [f"model.{name}={value}" for name, value in shape.items()]
    model = load_run(task="afqmc", card_settings={}, model="test", overrides=overrides).model
    return ClassificationHead(build_backbone(model, 90, precision="float32", seed=1), 3, dropout_rate=0.0)


def test_techniques_are_nested_the_first_outermost() -> None:
    """What is added by one is seen by the other: both noises move the tokens."""
    update, build, small = random_update(4), recomputing("none", 0.0), np.float32(0.02) * DIRECTION
    moved = still(MOVED)
    both = loss_of(engine_of(MOVED, MOVED, build=build), with_direction(update, small))
    assert both == pytest.approx(loss_of(moved, with_direction(update, 2 * small)), rel=1e-6)
    # the outer one gets the gradient with respect to its own noise through the inner one
    slope = loss_of(engine_of(SLOPE, MOVED, build=build), with_direction(update, small))
    assert abs(slope) > 2e-4
    assert slope == pytest.approx(0.02 * difference(moved, update, DIRECTION, at=0.02), rel=0.02)


def test_rows_of_weight_0_have_no_gradient_of_noise() -> None:
    slopes = []
    engine = still(SLOPE, "block", 0.4)
    for row in (0, ROWS - 1):
        direction = np.zeros_like(DIRECTION)
        direction[row] = DIRECTION[row]
        slopes.append(loss_of(engine, with_direction(random_update(3), direction)))
    assert slopes[0] != 0 and slopes[1] == 0
