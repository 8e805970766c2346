"""Learned positions, and the same table stretched to its square."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from clue_runner.architectures.settings import build_backbone
from clue_runner.models.positions import position_vectors

Settings = Callable[..., Any]
HAND = np.array([[0.0], [10.0], [20.0], [40.0]], np.float32)
STRETCHED = [0, 10, 20, 40, 6.6667, 16.6667, 26.6667, 46.6667]
STRETCHED += [13.3333, 23.3333, 33.3333, 53.3333, 26.6667, 36.6667, 46.6667, 66.6667]


def vectors(table: Any, length: int, ids: Any = None, alpha: float | None = 0.4) -> np.ndarray[Any, Any]:
    table = ops.convert_to_tensor(table)
    return np.asarray(ops.convert_to_numpy(position_vectors(table, length, ids, alpha=alpha)))


def slope(length: int, used: list[int], by_id: bool) -> np.ndarray[Any, Any]:
    """The gradient, for the table, of the sum of the vectors at the ``used`` places."""
    ids = np.arange(length, dtype=np.int32)[None] if by_id else None
    weight = np.isin(np.arange(length), used).astype(np.float32)[None, :, None]

    def total(table: Any) -> Any:
        return ops.sum(position_vectors(table, length, ids, alpha=0.4) * weight)

    if keras.backend.backend() == "jax":
        import jax

        return np.asarray(jax.grad(total)(ops.convert_to_tensor(HAND)))
    import tensorflow as tf

    table = tf.constant(HAND)
    with tf.GradientTape() as tape:
        tape.watch(table)
        result = total(table)
    return np.asarray(tf.convert_to_tensor(tape.gradient(result, table)))


@pytest.mark.parametrize("by_id", [False, True])
def test_the_table_by_hand(by_id: bool) -> None:
    ids = np.arange(16, dtype=np.int32)[None] if by_id else None
    assert vectors(HAND, 16, ids)[0, :, 0] == pytest.approx(STRETCHED, abs=1e-4)
    assert vectors(HAND, 7)[0, :, 0] == pytest.approx(STRETCHED[:7], abs=1e-4)
    shuffled = np.array([[15, 0, 5], [4, 4, 12]], np.int32)
    expected = np.array(STRETCHED, np.float32)[shuffled]
    np.testing.assert_allclose(vectors(HAND, 3, shuffled)[..., 0], expected, atol=1e-4)


def test_at_one_half_two_places_would_be_one() -> None:
    table = vectors(HAND, 16, alpha=0.5)[0, :, 0].reshape(4, 4)
    np.testing.assert_allclose(table, table.T, atol=1e-5)
    table = vectors(HAND, 16)[0, :, 0].reshape(4, 4)
    assert np.abs(table - table.T)[~np.eye(4, dtype=bool)].min() > 1


@pytest.mark.parametrize("length", [1, 31, 32, 33, 100])
def test_the_first_places_keep_every_bit(length: int) -> None:
    table = np.random.default_rng(1).normal(size=(32, 5)).astype(np.float32)
    table[:4, :2] = [[-0.0, 1e-40], [1e30, -1e30], [3e38, -3e38], [0.0, -0.0]]
    ids = np.arange(length, dtype=np.int32)[None]
    for found in (vectors(table, length), vectors(table, length, ids)):
        assert found.shape == (1, length, 5)
        assert found[0, :32].tobytes() == table[:length].tobytes()


def test_a_length_that_only_the_graph_knows() -> None:
    if keras.backend.backend() != "tensorflow":
        pytest.skip("JAX compiles each length")
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec([None, None], tf.int32)])
    def graph(token_ids: Any) -> Any:
        return position_vectors(tf.constant(HAND), ops.shape(token_ids)[1], alpha=0.4)

    for length in (1, 3, 4, 5, 16):
        found = graph(np.zeros((2, length), np.int32)).numpy()
        assert found[0, :, 0] == pytest.approx(STRETCHED[:length], abs=1e-4)
        assert found[0, :4].tobytes() == HAND[:length].tobytes()


@pytest.mark.parametrize("by_id", [False, True])
def test_the_gradient_reaches_the_table_from_every_block(by_id: bool) -> None:
    share = 0.4 / 0.6
    for block in range(4):
        expected = np.zeros(4)
        expected[2] += 1  # the place within the block
        if block:
            expected[block] += share
            expected[0] -= share
        np.testing.assert_allclose(slope(16, [4 * block + 2], by_id)[:, 0], expected, atol=1e-6)
    # rows within the table have the plain table's gradient, bit for bit
    assert slope(4, [0, 1, 3], by_id)[:, 0].tolist() == [1, 1, 0, 1]
    assert slope(3, [0, 1], by_id)[:, 0].tolist() == [1, 1, 0, 0]


@pytest.mark.parametrize("length", [3, 11])
def test_short_inputs_give_the_same_bits_with_and_without(model_settings: Settings, length: int) -> None:
    outputs = []
    for positions in ("learned", "hierarchical"):
        settings = model_settings(positions=positions).model_copy(update={"max_positions": 11})
        backbone = build_backbone(settings, 50, precision="float32", seed=1)
        ids = np.random.default_rng(0).integers(1, 50, (2, length)).astype(np.int32)
        tokens = {"token_ids": ids, "segment_ids": np.zeros_like(ids)}
        encoded = backbone(tokens, mask=np.arange(length) < np.array([[length], [2]]))
        outputs.append([ops.convert_to_numpy(one).tobytes() for one in encoded[:2]])
    assert outputs[0] == outputs[1]


def test_long_inputs_see_where_tokens_stand(model_settings: Settings) -> None:
    settings = model_settings(positions="hierarchical").model_copy(update={"max_positions": 4})
    backbone = build_backbone(settings, 50, precision="float32", seed=1)
    assert backbone.max_positions == 16
    ids = np.full((1, 16), 7, np.int32)
    encoded = backbone({"token_ids": ids, "segment_ids": np.zeros_like(ids)}, mask=np.ones((1, 16), bool))
    tokens = ops.convert_to_numpy(encoded.sequence)[0]
    distance = np.abs(tokens[:, None] - tokens[None]).max(axis=-1)
    assert (distance[~np.eye(16, dtype=bool)] > 1e-4).all()
