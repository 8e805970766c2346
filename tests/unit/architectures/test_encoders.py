"""Every family of encoders: equal to its own library, trained, resumed, and what its options may change.

The goldens are checkpoints as transformers and bert4keras save them (scripts/make_encoders.py).
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("keras")

import keras
from keras import ops

from clue_runner import load_backbone
from clue_runner.architectures.base import load_architecture
from clue_runner.architectures.settings import make_shape
from clue_runner.engines import create_engine
from clue_runner.engines.base import EngineSettings
from clue_runner.engines.rules import make_rule
from clue_runner.errors import UsageError
from clue_runner.models.heads.labels import ClassificationHead
from clue_runner.models.naming import named_variables

BACKEND = os.environ.get("KERAS_BACKEND", "tensorflow")
GOLDENS = Path(__file__).parents[2] / "goldens" / "encoders"
LIMIT = 1e-5
WORDS, LENGTH, ROWS = 30, 12, 6
SIZES = {"num_layers": 2, "hidden_dim": 16, "num_heads": 2, "intermediate_dim": 24}
# one network of each kind; with a table of positions it can be stretched
TABLE = {
    "albert": ("albert", {"embedding_width": 8}),
    "albert-zh": ("albert", {"embedding_width": 8, "widened": "words"}),
    "electra": ("electra", {"embedding_width": 8}),
    "ernie": ("ernie", {"num_task_types": 3, "task_type": 1}),
    "deberta-absolute": ("deberta_v2", {"absolute": True, "num_segments": 2, "shared_projections": False}),
}
COMPUTED = {
    "deberta": ("deberta_v2", {"buckets": 4, "max_distance": 9}),
    "nezha": ("nezha", {"max_distance": 3}),
    "roformer": ("roformer", {"embedding_width": 8}),
    "roformer-v2": ("roformer", {"version": "2"}),
}
KINDS = {**TABLE, **COMPUTED}
# Each kind is compiled anew: those that differ most stand for all, and scripts/check_encoders.py takes all.
EVERY = os.environ.get("CLUE_EVERY_ENCODER") == "1"
TRAINED = sorted(KINDS) if EVERY else ["deberta"]
SHOWN = sorted(KINDS) if EVERY else ["albert", "deberta", "nezha"]
STRETCHED = sorted(TABLE) if EVERY else ["albert-zh", "deberta-absolute"]


def shape_of(kind: str, **more: Any) -> Any:
    """The shape of a small network."""
    family, own = KINDS[kind]
    table = {"max_positions": 16} if kind in TABLE else {}
    return make_shape(family, **{**SIZES, **table, **own, "dropout": 0.0, "attention_dropout": 0.0, **more})


def build(kind: str, precision: str = "float32", **more: Any) -> Any:
    """A network whose every weight differs from its first value, so that each has a say."""
    network = load_architecture(KINDS[kind][0]).build(
        shape_of(kind, **more), WORDS, precision=precision, seed=1
    )
    for name, variable in named_variables(network).items():
        scale = name.endswith("/scale")
        draw = np.random.default_rng(len(name) * 1000 + sum(map(ord, name)))
        variable.assign((scale + draw.normal(0, 0.25, variable.shape)).astype(np.float32))
    return network


@cache
def tokens() -> dict[str, Any]:
    """Ids of some rows."""
    draw = np.random.default_rng(0)
    ids = draw.integers(5, WORDS, (ROWS, LENGTH)).astype(np.int32)
    return {"token_ids": ids, "segment_ids": (np.arange(LENGTH) > 6).astype(np.int32) * np.ones_like(ids)}


def inside(lengths: Any) -> np.ndarray[Any, Any]:
    return np.arange(LENGTH) < np.asarray(lengths)[:, None]


def states(network: Any, mask: Any = None, **how: Any) -> np.ndarray[Any, Any]:
    """The hidden states of a call."""
    mask = inside([LENGTH] * ROWS) if mask is None else mask
    given = how.pop("given", tokens())
    function = lambda: network(given, mask=mask, **how).sequence  # noqa: E731
    if BACKEND == "jax":
        import jax

        return np.asarray(jax.jit(function)().astype("float32"))
    # tensors in the place of variables: hand-written gradients outside a graph take no variables
    values = [(weight, ops.stop_gradient(weight.value)) for weight in network.weights]
    with keras.StatelessScope(state_mapping=values):
        return np.asarray(ops.convert_to_numpy(ops.cast(function(), "float32")))


# ---------------------------------------------------------------- as their own libraries compute


@pytest.mark.parametrize("name", sorted(path.stem for path in GOLDENS.glob("*.npz")))
def test_hidden_states_are_those_of_the_family_s_own_library(name: str) -> None:
    with np.load(GOLDENS / f"{name}.npz") as stored:
        golden = dict(stored)
    assert str(golden["versions"]).startswith(("transformers ", "bert4keras "))
    backbone = load_backbone(GOLDENS / name)
    for case in ("unpadded", "padded"):
        sizes = golden[f"lengths/{case}"]
        seen = np.arange(golden["token_ids"].shape[1]) < sizes[:, None]
        sequence, pooled = backbone(
            np.where(seen, golden["token_ids"], 0), np.where(seen, golden["segment_ids"], 0), sizes
        )
        np.testing.assert_allclose(sequence[seen], golden[f"{case}/sequence"][seen], rtol=0, atol=LIMIT)
        assert (pooled is None) is (f"{case}/pooled" not in golden)
        if pooled is not None:
            np.testing.assert_allclose(pooled, golden[f"{case}/pooled"], rtol=0, atol=LIMIT)
    assert np.abs(golden["padded/sequence"] - golden["unpadded/sequence"])[1, :5].max() > 100 * LIMIT


def test_albert_zh_is_bert_with_the_product_as_word_table_and_its_block_in_every_layer() -> None:
    """No library has this form; written out it is a BERT, which has a golden of its own."""
    ours = build("albert-zh")
    plain = load_architecture("bert").build(
        make_shape("bert", **SIZES, max_positions=16, dropout=0.0, attention_dropout=0.0),
        WORDS, precision="float32", seed=2,
    )  # fmt: skip
    values = {name: ops.convert_to_numpy(variable) for name, variable in named_variables(ours).items()}
    values["backbone/embeddings/word"] = values["backbone/embeddings/word"] @ values.pop(
        "backbone/embeddings/word_map"
    )
    for name, variable in named_variables(plain).items():
        block = name.replace("block_0", "block").replace("block_1", "block")
        variable.assign(values[block])
    np.testing.assert_allclose(states(ours), states(plain), atol=LIMIT)


def test_distances_beyond_the_farthest_are_alike() -> None:
    """The golden is shorter than NEZHA's 64: attention with a limit of 3, written out."""
    from clue_runner.models.fixed_positions import RelativePositions, sinusoids
    from clue_runner.models.kernels import attend

    draw = np.random.default_rng(3)
    query, key, value = draw.normal(size=(3, 2, 2, LENGTH, 8)).astype(np.float32)
    ids = np.arange(LENGTH, dtype=np.int32)[None]
    positions = RelativePositions(3, 8)
    found = attend(
        ops.convert_to_tensor(query), ops.convert_to_tensor(key), ops.convert_to_tensor(value), None, None,
        positions.scores(query, key, ids, ids), positions.moved(ids, ids, "float32"),
    )  # fmt: skip
    table = np.stack(
        [
            [(np.cos if column % 2 else np.sin)(row * 10000.0 ** (-(column // 2) / 4)) for column in range(8)]
            for row in range(7)
        ]
    )
    np.testing.assert_allclose(sinusoids(7, 8), table, atol=1e-6)
    expected = np.empty_like(value)
    for place in range(LENGTH):
        rows = table[[min(3, max(-3, other - place)) + 3 for other in range(LENGTH)]]
        scores = np.einsum("bhd,bhkd->bhk", query[:, :, place], key + rows)
        chances = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
        expected[:, :, place] = np.einsum("bhk,bhkd->bhd", chances, value + rows)
    np.testing.assert_allclose(ops.convert_to_numpy(found), expected, atol=LIMIT)


# ---------------------------------------------------------------- training


def start(kind: str, **options: Any) -> Any:
    """An engine with a network for two labels."""
    shape = shape_of(kind, **{"dropout": 0.2, "attention_dropout": 0.1, **options})

    def network() -> Any:
        backbone = load_architecture(KINDS[kind][0]).build(shape, WORDS, precision="float32", seed=5)
        return ClassificationHead(backbone, 2, seed=5)

    settings = EngineSettings(
        precision="float32", jit=BACKEND == "jax", rule=make_rule("adamw", {}, weight_decay=0.01),
        clip_norm=1.0, ema=None, seed=3,
    )  # fmt: skip
    engine = create_engine(BACKEND)
    engine.init(network, settings)
    return engine


def train(engine: Any, first: int, last: int) -> list[float]:
    """The losses of some updates; the label is what a row's first token is."""
    losses = []
    for number in range(first, last):
        ids = np.random.default_rng(number).integers(5, WORDS, (1, 24, 7)).astype(np.int32)
        batch = {
            "token_ids": ids,
            "segment_ids": np.zeros_like(ids),
            "lengths": np.full((1, 24), 7, np.int32),
            "label": (ids[:, :, 0] >= 17).astype(np.int32),
            "weight": np.ones((1, 24), np.float32),
        }
        losses.append(engine.step(batch, update_index=number, learning_rate=5e-3)().loss)
    return losses


@pytest.mark.parametrize("kind", TRAINED)
def test_its_loss_falls_and_it_goes_on_bit_for_bit(kind: str) -> None:
    """With recomputation; without it the first losses are the same, dropout included."""
    engine = start(kind, recompute="block")
    losses = train(engine, 0, 4)
    state = engine.get_state()
    losses += train(engine, 4, 40)
    assert np.mean(losses[-8:]) < 0.85 * np.mean(losses[:8])
    engine.set_state(state)
    assert train(engine, 4, 7) == losses[4:7]
    if EVERY:
        plain = start(kind)
        np.testing.assert_allclose(train(plain, 0, 3), losses[:3], rtol=2e-5)


# ---------------------------------------------------------------- options


@pytest.mark.parametrize("kind", SHOWN)
def test_no_option_changes_the_hidden_states(kind: str) -> None:
    mask = inside([LENGTH, 3, 7, LENGTH, 1, 9])
    network = build(kind)
    whole = states(network, mask)
    assert np.isfinite(whole).all() and whole.shape == (ROWS, LENGTH, 16)
    np.testing.assert_allclose(states(network, mask, first_only=True)[:, 0], whole[:, 0], atol=LIMIT)
    chunked = states(build(kind, attention="chunked"), mask)
    np.testing.assert_allclose(chunked[mask], whole[mask], atol=LIMIT)
    rough = states(build(kind, "bfloat16"), mask)
    assert 1e-5 < np.abs(rough - whole)[mask].max() < 0.25
    # noise is added to the embedding
    noise = np.full((ROWS, LENGTH, network.embedding_width), 0.1, np.float32)
    noise[..., ::2] = -0.1
    assert np.abs(states(network, mask, noise=noise) - whole)[mask].max() > 1e-2


@pytest.mark.parametrize("kind", SHOWN)
def test_a_token_s_place_is_what_its_id_says(kind: str) -> None:
    """DropToken: what is left of a row equals the whole network with the dropped columns masked."""
    network = build(kind)
    kept = np.array([0, 2, 3, 6, 7, 9, 11])
    given = {name: values[:, kept] for name, values in tokens().items()}
    ids = np.broadcast_to(kept, (ROWS, len(kept))).astype(np.int32)
    found = states(network, np.ones(ids.shape, bool), given=given, positions=ids)
    mask = np.zeros((ROWS, LENGTH), bool)
    mask[:, kept] = True
    np.testing.assert_allclose(found, states(network, mask)[:, kept], atol=LIMIT)
    shifted = states(network, np.ones(ids.shape, bool), given=given)
    assert np.abs(shifted - found).max() > 1e-3


@pytest.mark.parametrize("kind", ["deberta", "nezha"])
def test_rows_that_keep_other_places_are_each_as_if_alone(kind: str) -> None:
    draw = np.random.default_rng(2)
    kept = np.stack([np.sort(draw.permutation(LENGTH)[:8]) for _ in range(ROWS)]).astype(np.int32)
    given = {name: np.take_along_axis(values, kept, axis=1) for name, values in tokens().items()}
    mask, network = np.ones(kept.shape, bool), build(kind)
    together = states(network, mask, given=given, positions=kept)
    one = {name: values[1:2] for name, values in given.items()}
    alone = states(network, mask[1:2], given=one, positions=kept[1:2])
    np.testing.assert_allclose(together[1:2], alone, atol=LIMIT)


@pytest.mark.parametrize("kind", STRETCHED)
def test_a_table_of_positions_is_stretched(kind: str) -> None:
    draw = np.random.default_rng(1)
    long = {name: draw.integers(0, 2, (2, 40)).astype(np.int32) for name in ("token_ids", "segment_ids")}
    network = build(kind, positions="hierarchical")
    assert network.max_positions == 256
    mask = np.ones((2, 40), bool)
    assert states(network, mask, given=long).shape == (2, 40, 16)
    np.testing.assert_array_equal(states(network), states(build(kind)))


@pytest.mark.parametrize("kind", ["nezha", "roformer"])
def test_what_is_no_table_is_not_stretched(kind: str) -> None:
    with pytest.raises(ValueError, match="no position table to extend: its rows may be of any length"):
        shape_of(kind, positions="hierarchical")
    assert shape_of(kind).position_limit > 10**9


@pytest.mark.parametrize("kind", ["nezha", "deberta"])
def test_the_fused_kernel_is_refused_where_positions_add_scores(kind: str) -> None:
    with pytest.raises(UsageError, match="the fused kernel cannot add the scores"):
        build(kind, attention="fused")
