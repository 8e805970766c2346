"""A target behind its source: who sees whom, the loss by hand, the search against whole forwards."""

from __future__ import annotations

import os
from typing import Any

import keras
import numpy as np
import pytest

from clue_runner.architectures.base import load_architecture
from clue_runner.architectures.settings import make_shape
from clue_runner.engines import compiled, create_engine
from clue_runner.engines.base import EngineSettings
from clue_runner.engines.rules import make_rule
from clue_runner.models.decoding.beam import Beam
from clue_runner.models.heads.writing_head import Writing, WritingHead
from clue_runner.models.masks import prefix_mask
from clue_runner.models.naming import named_variables

BACKEND = os.environ.get("KERAS_BACKEND", "tensorflow")
SIZES = {"num_layers": 2, "hidden_dim": 16, "num_heads": 2, "intermediate_dim": 24, "max_positions": 32}
VOCABULARY, LONGEST, END, FORBIDDEN = 23, 5, 3, (0, 1)
LENGTHS = np.array([12, 9, 7, 1], np.int32)
SOURCES = np.array([8, 4, 6, 0], np.int32)  # the last row is padding


def head(
    family: str = "bert", precision: str = "float32", width: int = 1, seed: int = 4, layers: int = 2
) -> WritingHead:
    shape = make_shape(family, **SIZES | {"num_layers": layers}, dropout=0.1)
    backbone = load_architecture(family).build(
        shape, VOCABULARY, precision=precision, seed=seed, pooler=False
    )
    writing = Writing(Beam(width, LONGEST, END, 1.0), FORBIDDEN, 1)
    return WritingHead(backbone, longest=LONGEST, writing=writing, transform=family == "bert", seed=seed)


def batch(seed: int = 0) -> dict[str, Any]:
    ids = np.random.default_rng(seed).integers(4, VOCABULARY, (4, 12)).astype(np.int32)
    places = np.arange(12)
    behind = (places >= SOURCES[:, None]) & (places < LENGTHS[:, None])
    return {
        "token_ids": np.where(places < LENGTHS[:, None], ids, 0).astype(np.int32),
        "segment_ids": behind.astype(np.int32),
        "lengths": LENGTHS,
        "source": SOURCES,
        "weight": np.array([1, 1, 1, 0], np.float32),
    }


def spread(network: Any, seed: int = 1) -> Any:
    """Weights so far from 0 that every part of the network shows."""
    generator = np.random.default_rng(seed)
    for name, variable in named_variables(network).items():
        base = 1.0 if name.endswith("norm/scale") else 0.0
        variable.assign(generator.normal(base, 0.4, variable.shape).astype(np.float32))
    return network


def call(network: Any, function: Any, *arguments: Any) -> Any:
    """What a function that calls the network gives, computed as one program."""
    run = compiled(BACKEND, network, function)
    return keras.tree.map_structure(keras.ops.convert_to_numpy, run(*arguments))


def test_the_mask_shows_a_source_whole_and_a_target_what_stands_before() -> None:
    lengths, sources = np.array([5], np.int32), np.array([2], np.int32)
    found = keras.ops.convert_to_numpy(prefix_mask(lengths, sources, 6))[0, 0].astype(int)
    assert found.tolist() == [
        [1, 1, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0],
        [1, 1, 1, 0, 0, 0],
        [1, 1, 1, 1, 0, 0],
        [1, 1, 1, 1, 1, 0],
        [1, 1, 1, 1, 1, 0],
    ]


def test_a_target_token_changes_what_comes_after_it_alone() -> None:
    network, before = spread(head()), batch()
    after = {**before, "token_ids": before["token_ids"].copy()}
    after["token_ids"][0, 9] = (after["token_ids"][0, 9] + 1) % VOCABULARY  # the second of the target
    vectors = compiled(BACKEND, network, lambda one: network.vectors(one, None))
    first, second = (np.array(vectors(one)) for one in (before, after))
    assert np.array_equal(first[0, :2], second[0, :2]) and not np.allclose(first[0, 2:4], second[0, 2:4])
    source = {**before, "token_ids": before["token_ids"].copy()}
    source["token_ids"][0, 7] = (source["token_ids"][0, 7] + 1) % VOCABULARY
    assert not np.allclose(first[0, 0], np.array(vectors(source))[0, 0])


def test_even_logits_cost_the_logarithm_of_the_vocabulary_a_token() -> None:
    network = head()
    for variable in named_variables(network.scores).values():
        variable.assign(np.zeros(variable.shape, np.float32))  # the transform is 0, so are all scores
    total, weight = call(network, network.loss, batch())
    assert weight == 4 + 5 + 1  # tokens of the targets; the padding row has none
    assert total == pytest.approx(10 * np.log(VOCABULARY), rel=1e-6)


@pytest.mark.parametrize("family", ["bert", "gpt2_ml"])
def test_the_search_finds_what_whole_forwards_find(family: str) -> None:
    network, given = spread(head(family)), batch()
    found = call(network, network.answer, given)["tokens"][:, 0]
    total = 12 + LONGEST

    def logits(one: Any) -> Any:
        mask = prefix_mask(one["lengths"], one["source"], total)
        return network.scores(network.backbone(one, mask=mask).sequence[0])

    scores_of = compiled(BACKEND, network, logits)
    for row, source in enumerate(SOURCES[:3]):
        ids = np.full((1, total), 9, np.int32)  # what is not written yet is seen by none before it
        ids[:, :source] = given["token_ids"][row, :source]
        for place in range(LONGEST):
            one = {
                "token_ids": ids,
                "segment_ids": (np.arange(total) >= source).astype(np.int32)[None],
                "lengths": np.array([total], np.int32),
                "source": np.array([source], np.int32),
            }
            scores = np.array(scores_of(one))[source - 1 + place]
            scores[list(FORBIDDEN)] = -np.inf
            ids[0, source + place] = scores.argmax()
            assert found[row, place] == scores.argmax()
            if scores.argmax() == END:
                assert (found[row, place:] == END).all()
                break


def test_what_stands_behind_a_source_and_the_padding_change_no_answer() -> None:
    network, given = spread(head(width=3)), batch()
    answer = compiled(BACKEND, network, network.answer)
    first = {name: np.array(values) for name, values in answer(given).items()}
    other = {**given, "token_ids": np.where(np.arange(12) < SOURCES[:, None], given["token_ids"], 7)}
    for name in ("token_ids", "segment_ids"):
        other[name] = np.pad(other[name], [(0, 0), (0, 4)]).astype(np.int32)
    second = {name: np.array(values) for name, values in answer(other).items()}
    assert np.array_equal(first["tokens"][:3], second["tokens"][:3])
    assert np.abs(first["scores"][:3] - second["scores"][:3]).max() < 1e-5
    assert (np.diff(first["scores"][:3], axis=1) <= 0).all()


def start(precision: str) -> Any:
    settings = EngineSettings(
        precision=precision, jit=BACKEND == "jax", rule=make_rule("adamw", {}, weight_decay=0.01),
        clip_norm=1.0, ema=None, seed=3,
    )  # fmt: skip
    engine = create_engine(BACKEND)
    engine.init(lambda: head(precision=precision, width=2, layers=1), settings)
    return engine


def train(engine: Any, first: int, last: int) -> list[float]:
    losses = []
    for number in range(first, last):
        one = batch(number)
        one["token_ids"][:, 1:] = one["token_ids"][:, :1]  # the whole row is its first token again
        update = {name: values[None] for name, values in one.items()}
        losses.append(engine.step(update, update_index=number, learning_rate=1e-2)().loss)
    return losses


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_it_learns_goes_on_bit_for_bit_and_writes(precision: str) -> None:
    engine = start(precision)
    losses = train(engine, 0, 8)
    state = engine.get_state()
    losses += train(engine, 8, 24)
    assert np.mean(losses[-5:]) < 0.9 * np.mean(losses[:5])
    expected = engine.get_state()
    # a new engine once: nothing but the state goes on
    again = start(precision) if precision == "float32" else engine
    again.set_state(state)
    assert train(again, 8, 24) == losses[8:]
    assert all(np.array_equal(value, expected[name]) for name, value in again.get_state().items())
    outputs = again.evaluate(batch(), averaged=False)
    assert outputs["tokens"].shape == (4, 2, LONGEST) and outputs["scores"].shape == (4, 2)
    assert not np.isin(outputs["tokens"][:3], FORBIDDEN).any()
