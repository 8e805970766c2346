"""TeaForN: one pass is plain training, several are a loop by hand; who depends on what; who refuses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pydantic
import pytest
from keras import ops
from support.engines import BACKEND

from clue_runner.architectures.base import load_architecture
from clue_runner.architectures.settings import make_shape
from clue_runner.engines import create_engine
from clue_runner.engines.base import EngineSettings
from clue_runner.engines.passes import NetworkLoss
from clue_runner.engines.rules import make_rule
from clue_runner.engines.techniques import make_techniques
from clue_runner.errors import UsageError
from clue_runner.models.embeddings import WORDS
from clue_runner.models.heads.labels import ClassificationHead
from clue_runner.models.heads.writing_head import WritingHead
from clue_runner.models.masks import prefix_mask
from clue_runner.models.naming import named_variables

SIZES = {"num_layers": 2, "hidden_dim": 16, "num_heads": 2, "intermediate_dim": 24, "max_positions": 32}
LENGTHS = np.array([11, 9, 7, 1], np.int32)
SOURCES, LONGEST = np.array([7, 4, 6, 0], np.int32), 5  # the last row is padding


def head(
    family: str = "bert", precision: str = "float32", vocabulary: int = 23, rate: float = 0.0, **changes: Any
) -> WritingHead:
    changes = {**SIZES, "dropout": rate, "attention_dropout": rate, **changes}
    body = load_architecture(family).build(
        make_shape(family, **changes), vocabulary, precision=precision, seed=4, pooler=False
    )
    network = WritingHead(
        body, longest=LONGEST, writing=None, transform=family != "gpt2_ml", dropout_rate=rate
    )
    generator = np.random.default_rng(1)
    for name, variable in named_variables(network).items():
        base = 1.0 if name.endswith("norm/scale") else 0.0
        variable.assign(generator.normal(base, 0.3, variable.shape).astype(np.float32))
    return network


def batch(seed: int = 0, vocabulary: int = 23) -> dict[str, Any]:
    places = np.arange(12)
    inside = places < LENGTHS[:, None]
    ids = np.random.default_rng(seed).integers(1, vocabulary, inside.shape)
    return {
        "token_ids": np.where(inside, ids, 0).astype(np.int32),
        "segment_ids": (inside & (places >= SOURCES[:, None])).astype(np.int32),
        "lengths": LENGTHS,
        "source": SOURCES,
        "weight": np.array([1, 1, 1, 0], np.float32),
    }


def technique(**values: Any) -> Any:
    return make_techniques({"teaforn": 2, **values})[0]


def loss_of(network: Any, given: Any, **values: Any) -> Any:
    """The technique's (loss, weight) without dropout, outside a graph."""
    inner = NetworkLoss(network, (), lambda *_: None)
    found = technique(**values).loss(inner, given, ops.convert_to_tensor(np.array([3, 9], np.int32)))
    return [float(ops.convert_to_numpy(one)) for one in found]


def slopes(function: Callable[[Any], Any], value: Any) -> Any:
    """What a function gives, (outputs,), and each output's gradient at a value, (outputs, *value's shape)."""
    if BACKEND == "jax":
        import jax

        return np.asarray(jax.jit(function)(value)), np.asarray(jax.jit(jax.jacrev(function))(value))
    import tensorflow as tf

    value = tf.constant(value)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(value)
        parts = tf.unstack(function(value))
    found = [tape.gradient(one, value, unconnected_gradients="zero") for one in parts]
    return np.array(parts), np.array(found)


def passes(network: Any, given: Any, words: Any, count: int) -> list[Any]:
    """The outputs of each pass, the first reading these word vectors."""
    found = [network.outputs({**given, WORDS: words}, None)]
    while len(found) < count:
        found.append(network.outputs(network.fed(given, found[-1]), None))
    return found


def engine_of(values: Any, precision: str = "float32", rule: str = "adamw", **changes: Any) -> Any:
    settings = EngineSettings(
        precision=precision, jit=BACKEND == "jax", rule=make_rule(rule, {}, weight_decay=0.01), clip_norm=1.0,
        ema=None, seed=3, techniques=make_techniques(values),
    )  # fmt: skip
    engine = create_engine(BACKEND)
    engine.init(lambda: head(precision=precision, num_layers=1, **changes), settings)
    return engine


def train(engine: Any, numbers: Any, parts: int = 1) -> list[float]:
    losses = []
    for number in numbers:
        update = {name: value.reshape(parts, -1, *value.shape[1:]) for name, value in batch(number).items()}
        losses.append(engine.step(update, update_index=number, learning_rate=1e-2)().loss)
    return losses


def bits(engine: Any) -> dict[str, bytes]:
    return {name: value.tobytes() for name, value in engine.get_state().items()}


def apart(first: Any, second: Any) -> float:
    others = second.get_state()
    return max(float(np.abs(value - others[name]).max()) for name, value in first.get_state().items())


def test_weights_1_0_are_plain_training_bit_for_bit() -> None:
    """With dropout: the first pass draws the masks that training without the technique draws."""
    plain, first = (engine_of(values, rate=0.1) for values in ({}, {"teaforn": 2, "teaforn_weights": "1,0"}))
    losses = train(plain, range(2))
    assert train(first, range(2)) == losses and bits(first) == bits(plain)


@pytest.mark.long
def test_recomputed_passes_draw_the_same_masks() -> None:
    kept, again = (engine_of({"teaforn": 2}, rate=0.1, recompute=one) for one in ("none", "block"))
    losses = train(kept, range(2))
    assert train(again, range(2)) == pytest.approx(losses, rel=1e-5)
    assert apart(kept, again) < 2e-5


def test_even_scores_cost_the_logarithm_of_the_vocabulary_a_word_and_weight() -> None:
    """Ten words, four to write, weights 1, 0.5 and 0.25: docs/techniques.md's hand case."""
    network = head(vocabulary=10)
    for variable in named_variables(network.scores).values():
        variable.assign(np.zeros(variable.shape, np.float32))  # the transform is 0, so are all scores
    given = {name: value[:1] for name, value in batch(vocabulary=10).items()}
    loss, weight = loss_of(network, given, teaforn=3)
    assert loss == pytest.approx(16.118096, abs=1e-5) and weight == 4
    assert loss_of(network, given, teaforn=3, teaforn_weights="0,1,0")[0] == pytest.approx(4 * np.log(10))


@pytest.mark.parametrize(
    ("family", "read"), [("bert", "hidden"), ("bert", "topk:4"), ("bert", "softmax"), ("gpt2_ml", "hidden")]
)
def test_the_loss_is_that_of_a_loop_over_rows_passes_and_places(family: str, read: str) -> None:
    network, given, weights, expected = head(family), batch(), (1.0, 0.7, 0.2), 0.0
    table = ops.convert_to_numpy(network.scores.word).astype(np.float64)
    for row in range(3):
        length, source = int(LENGTHS[row]), int(SOURCES[row])
        one = {name: given[name][row : row + 1] for name in ("token_ids", "segment_ids")}
        mask = prefix_mask(LENGTHS[row : row + 1], SOURCES[row : row + 1], 12)
        words = table[one["token_ids"][0]]
        for weight in weights:
            found = network.backbone({**one, WORDS: words[None].astype(np.float32)}, mask=mask).sequence[0]
            vectors = ops.convert_to_numpy(network.scores.mapped(found)).astype(np.float64)
            logits = ops.convert_to_numpy(network.scores(found)).astype(np.float64)
            chances = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
            for place in range(source, length):
                expected -= weight * np.log(chances[place - 1, one["token_ids"][0, place]])
            if read != "hidden":
                for place in range(source - 1, length):
                    few = np.argsort(-chances[place])[: 4 if read == "topk:4" else None]
                    vectors[place] = chances[place, few] @ table[few] / chances[place, few].sum()
            words = np.concatenate([words[:source], vectors[source - 1 : length - 1], words[length:]])
    found, weight = loss_of(network, given, teaforn=3, teaforn_weights="1,0.7,0.2", teaforn_input=read)
    assert found == pytest.approx(expected, rel=1e-5) and weight == 4 + 5 + 1


@pytest.mark.long
def test_each_pass_sees_one_true_word_less() -> None:
    """By Jacobian: place j of pass i reads the target's first j - i + 1 words; what reads none is fixed."""
    network, given = head(), batch()
    given = {name: value[1:2] for name, value in given.items()}  # 4 of source, 5 of target
    own = np.take(ops.convert_to_numpy(network.scores.word), given["token_ids"], axis=0)
    direction = np.random.default_rng(0).normal(size=(1, 1, SIZES["hidden_dim"])).astype(np.float32)

    def projections(words: Any) -> Any:
        return ops.reshape(ops.sum(ops.stack(passes(network, given, words, 4)) * direction, axis=-1), (-1,))

    values, gradients = slopes(projections, own)
    values, gradients = values.reshape(4, LONGEST), gradients.reshape(4, LONGEST, *own.shape[1:])
    seen = np.abs(gradients).max(-1)[:, :, 4:9] > 0
    places = np.arange(LONGEST)
    for index in range(4):
        assert (seen[index] == (places[None, :] < places[:, None] - index)).all()
        fixed = slice(index + 1)
        assert values[index, fixed] == pytest.approx(values[3, fixed], rel=1e-5)
        if index:
            assert not np.isclose(values[index, index:], values[index - 1, index:]).any()


@pytest.mark.long
def test_the_loss_of_the_second_pass_has_its_slope_through_the_first() -> None:
    """True words of the target reach it through what the first pass writes alone; central differences."""
    network, given = head(), batch()
    own = np.take(ops.convert_to_numpy(network.scores.word), given["token_ids"], axis=0)
    inner = NetworkLoss(network, (), lambda *_: None)
    used, key = technique(teaforn_weights="0,1"), ops.convert_to_tensor(np.array([3, 9], np.int32))

    def loss(words: Any) -> Any:
        return ops.reshape(used.loss(inner, {**given, WORDS: words}, key)[0], (1,))

    _, (slope,) = slopes(loss, own)
    slope = slope * (given["segment_ids"][..., None] == 1)
    size = np.linalg.norm(slope)
    assert size > 1e-3
    up, down = (
        float(ops.convert_to_numpy(loss(own + step * slope / size))[0]) for step in (np.float32(1e-2), -1e-2)
    )
    assert (up - down) / 2e-2 == pytest.approx(size, rel=0.02)


def test_noise_moves_the_source_alone_where_a_target_is_fed() -> None:
    network, given = head(), batch()
    given["noise"] = np.ones((4, 12, SIZES["hidden_dim"]), np.float32)
    fed = network.fed(given, np.zeros((4, LONGEST, SIZES["hidden_dim"]), np.float32))
    places = np.arange(12)
    assert (ops.convert_to_numpy(fed["noise"])[..., 0] == (places < SOURCES[:, None])).all()


@pytest.mark.long
def test_any_split_gives_the_same_update() -> None:
    whole, split = engine_of({"teaforn": 2}), engine_of({"teaforn": 2})
    assert train(split, range(2), parts=2) == pytest.approx(train(whole, range(2)), rel=1e-5)
    assert apart(whole, split) < 2e-5


@pytest.mark.long
@pytest.mark.parametrize(("precision", "read"), [("float32", "topk:4"), ("bfloat16", "hidden")])
def test_it_learns_and_goes_on_bit_for_bit(precision: str, read: str) -> None:
    values = {"teaforn": 2, "teaforn_input": read} | ({"fgm": 0.1} if read == "hidden" else {})
    engine = engine_of(values, precision, rate=0.1)
    train(engine, range(2))
    state = engine.get_state()
    losses = train(engine, [5, 5, 5, 5, 5, 5])
    assert losses[-1] < 0.9 * losses[0]
    expected = bits(engine)
    engine.set_state(state)
    assert train(engine, [5, 5, 5, 5, 5, 5]) == losses and bits(engine) == expected


def test_what_cannot_have_it_says_why() -> None:
    body = head().backbone
    with pytest.raises(
        UsageError, match=r"(?s)cannot use teaforn: its head generates no text.*train.teaforn"
    ):
        technique().prepare(ClassificationHead(body, 3, pooling="first"))
    technique().prepare(head())
    with pytest.raises(UsageError, match="topk:24 .*topk:1 to topk:23"):
        technique(teaforn_input="topk:24").prepare(head())
    with pytest.raises(UsageError, match="r_drop and teaforn cannot be combined"):
        make_techniques({"teaforn": 2, "r_drop": 4.0})
    for wrong in ("1", "1,0.5,0.25", "0,0", "1,1e999"):
        with pytest.raises(UsageError, match=r"(?s)each pass needs a numeric weight.*there are 2 passes"):
            technique(teaforn_weights=wrong)
    for wrong in ({"teaforn": 0}, {"teaforn_weights": "1,-1"}, {"teaforn_input": "topk:0"}):
        with pytest.raises(pydantic.ValidationError):
            technique(**wrong)
