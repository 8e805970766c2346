"""The reading network: its size, its blocks by hand, what padding and distance may change."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("keras")

from keras import ops
from support.programs import one_program

from clue_runner.architectures.base import load_architecture, parameter_count
from clue_runner.architectures.dgcnn.focal import focal_loss, gated_probability
from clue_runner.architectures.dgcnn.network import GatedConvolution
from clue_runner.architectures.settings import make_shape
from clue_runner.models.dropout import update_keys
from clue_runner.models.naming import named_variables

OUTSIDE_EMBEDDINGS = 1_002_883  # counted from the published network


def reader(seed: int, precision: str = "float32", vectors: Any = None) -> Any:
    build = load_architecture("dgcnn").build
    return build(make_shape("dgcnn"), 50, precision=precision, seed=seed, vectors=vectors)


def batch(
    rows: int = 3, question: int = 9, passage: int = 40, seed: int = 0, words: int = 0
) -> dict[str, Any]:
    draw = np.random.default_rng(seed)
    found: dict[str, Any] = {
        "question_ids": draw.integers(1, 50, (rows, question)).astype(np.int32),
        "token_ids": draw.integers(1, 50, (rows, passage)).astype(np.int32),
        "start_tags": (draw.random((rows, passage)) < 0.1).astype(np.int16),
        "end_tags": (draw.random((rows, passage)) < 0.1).astype(np.int16),
        "weight": np.ones(rows, np.float32),
    }
    if words:
        found["question_words"] = draw.integers(0, words, (rows, question)).astype(np.int32)
        found["word_ids"] = draw.integers(0, words, (rows, passage)).astype(np.int32)
    return found


def vectors(words: int = 30, size: int = 16) -> np.ndarray:
    table = np.random.default_rng(5).normal(size=(words, size)).astype(np.float32)
    table[0] = 0
    return table


def numpy(outputs: Any) -> dict[str, np.ndarray]:
    return {name: ops.convert_to_numpy(value) for name, value in outputs.items()}


def chances(outputs: Any) -> np.ndarray:
    found = [gated_probability(outputs["gate"], outputs[name])[0] for name in ("start", "end")]
    return np.stack([ops.convert_to_numpy(one) for one in found])


@pytest.mark.parametrize("hybrid", [False, True])
def test_the_network_has_the_published_number_of_weights(hybrid: bool) -> None:
    head = reader(1, vectors=vectors() if hybrid else None)
    named = named_variables(head)
    outside = {name: v for name, v in named.items() if not name.startswith("reader/embeddings/")}
    assert sum(int(np.prod(variable.shape)) for variable in outside.values()) == OUTSIDE_EMBEDDINGS
    inside = sum(int(np.prod(v.shape)) for v in named.values()) - OUTSIDE_EMBEDDINGS
    assert inside == 50 * 128 + (16 * 128 if hybrid else 0)
    assert parameter_count(make_shape("dgcnn"), 50) == OUTSIDE_EMBEDDINGS + 50 * 128


def test_a_block_without_kernel_is_halfway_to_its_bias() -> None:
    block = GatedConvolution("b", 0, "float32", width=4, dilation=2, rate=0.1)
    block.kernel.assign(np.zeros(block.kernel.shape, np.float32))
    content = np.array([1.0, -2.0, 3.0, 0.5], np.float32)
    block.bias.assign(np.concatenate([content, np.zeros(4, np.float32)]))
    inputs = np.random.default_rng(0).normal(size=(2, 5, 4)).astype(np.float32)
    mask = np.ones((2, 5, 1), np.float32)
    mask[1, 3:] = 0
    found = ops.convert_to_numpy(block(ops.convert_to_tensor(inputs * mask), ops.convert_to_tensor(mask)))
    np.testing.assert_allclose(found, (inputs + content) / 2 * mask, atol=1e-6)


def test_a_block_sees_its_dilation_alone() -> None:
    block = GatedConvolution("b", 3, "float32", width=4, dilation=4, rate=0.0)
    inputs = np.random.default_rng(1).normal(size=(1, 20, 4)).astype(np.float32)
    changed = inputs.copy()
    changed[0, 10] += 1
    mask = np.ones((1, 20, 1), np.float32)
    differs = [
        np.abs(ops.convert_to_numpy(block(x, mask)) - ops.convert_to_numpy(block(inputs, mask))).max(-1)[0]
        > 1e-7
        for x in (changed,)
    ][0]
    assert np.flatnonzero(differs).tolist() == [6, 10, 14]


@pytest.mark.parametrize(
    ("label", "chance", "wanted"), [(1, 0.5, 0.0433217), (0, 0.5, 0.1299651), (1, 0.9, 0.000263401)]
)
def test_focal_loss_by_hand(label: int, chance: float, wanted: float) -> None:
    p = np.float32(chance)
    found = focal_loss(np.float32(label), p, np.float32(1 - p), alpha=0.25, gamma=2)
    assert float(ops.convert_to_numpy(found)) == pytest.approx(wanted, rel=1e-5)


def test_focal_loss_stays_finite_where_probabilities_round_to_one() -> None:
    gate, logits = np.array([90.0], np.float32), np.array([[90.0, -90.0, 30.0]], np.float32)
    p, rest = gated_probability(gate, logits)
    for label in (0.0, 1.0):
        loss = ops.convert_to_numpy(
            focal_loss(np.full((1, 3), label, np.float32), p, rest, alpha=0.25, gamma=2)
        )
        assert np.isfinite(loss).all()


@pytest.mark.parametrize("hybrid", [False, True])
def test_padding_changes_no_probability(hybrid: bool) -> None:
    table = vectors() if hybrid else None
    head = reader(2, vectors=table)
    short = batch(words=30 if hybrid else 0)
    long = {}
    for name, values in short.items():
        extra = 13 if values.ndim == 2 else 0
        long[name] = np.pad(values, [(0, 0), (0, extra)]) if extra else values
    if hybrid:  # whatever stands under padding must not matter
        long["word_ids"][:, 40:] = 7
        long["question_words"][:, 9:] = 8
    answer = one_program(head.answer)
    first, second = chances(answer(short)), chances(answer(long))[..., :40]
    assert np.abs(first - second).max() < 1e-6


def test_no_tag_is_more_probable_than_the_gate() -> None:
    outputs = one_program(reader(2).answer)(batch())
    gate = 1 / (1 + np.exp(-ops.convert_to_numpy(outputs["gate"])))
    assert (chances(outputs).max(axis=(0, 2)) <= gate + 1e-6).all()


def test_a_character_moves_tags_within_32_characters_only() -> None:
    head = reader(4)
    one = batch(rows=1, passage=120)
    other = {**one, "token_ids": one["token_ids"].copy()}
    other["token_ids"][0, 60] = one["token_ids"][0, 60] % 49 + 1
    answer = one_program(head.answer)
    first, second = numpy(answer(one)), numpy(answer(other))
    for name in ("start", "end"):
        moved = np.flatnonzero(np.abs(first[name] - second[name])[0] > 0)
        assert moved.min() >= 60 - 32 and moved.max() <= 60 + 32
        assert moved.min() < 60 - 16 and moved.max() > 60 + 16
    assert first["gate"][0] != second["gate"][0]


def test_bfloat16_stays_near_float32() -> None:
    exact = chances(one_program(reader(6).answer)(batch()))
    rough = chances(one_program(reader(6, "bfloat16").answer)(batch()))
    assert np.abs(exact - rough).max() < 0.02


def test_dropout_follows_its_key() -> None:
    head = reader(6)
    keys = update_keys(1, 0, 2)
    logits = one_program(head.logits)
    same = [numpy(logits(batch(), ops.convert_to_tensor(keys[0])))["start"] for _ in range(2)]
    other = numpy(logits(batch(), ops.convert_to_tensor(keys[1])))["start"]
    assert (same[0] == same[1]).all() and (same[0] != other).any()


def test_loss_counts_real_positions() -> None:
    head = reader(6)
    one = batch(rows=2)
    one["token_ids"][1, 25:] = 0
    one["weight"] = np.array([1.0, 0.0], np.float32)
    loss = one_program(head.loss)
    total, weight = loss(one)
    assert float(ops.convert_to_numpy(weight)) == 40
    alone = {name: values[:1] for name, values in one.items()}
    again, _ = loss(alone)
    assert float(ops.convert_to_numpy(total)) == pytest.approx(float(ops.convert_to_numpy(again)), rel=1e-5)
