"""Masked words: loss and gradients against transformers, and what the decoder of dropped tokens sees."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from support.engines import settings, start

from clue_runner.architectures.base import load_architecture
from clue_runner.architectures.settings import make_shape
from clue_runner.checkpoints.checkpoint import Checkpoint
from clue_runner.checkpoints.importer import read_checkpoint
from clue_runner.engines.states import slot_name
from clue_runner.models.heads.masked_words_head import MaskedWordsHead
from clue_runner.models.naming import named_variables

GOLDENS = Path(__file__).parents[2] / "goldens"
HALF = 0.5  # the first moment of a first update is this share of the gradient
SIZES = {"num_layers": 2, "hidden_dim": 16, "num_heads": 2, "intermediate_dim": 24, "max_positions": 16}


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    with np.load(GOLDENS / "masked_words.npz") as stored:
        return dict(stored)


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    return read_checkpoint(GOLDENS / "masked_words", heads=["masked_words"])


def network(dropped: bool = False, precision: str = "float32", vocab: int = 30) -> MaskedWordsHead:
    shape = make_shape("bert", **SIZES, dropout=0.0, attention_dropout=0.0)
    backbone = load_architecture("bert").build(shape, vocab, precision=precision, seed=3, pooler=False)
    return MaskedWordsHead(backbone, dropped=dropped, longest=16, seed=3)


def batch(golden: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    ids = golden["token_ids"]
    columns = {name: golden[name] for name in ("lengths", "places", "targets")}
    weight = np.ones(len(ids), np.float32)
    return {"token_ids": ids, "segment_ids": np.zeros_like(ids), "weight": weight, **columns}


def called(head: MaskedWordsHead, function: Any, given: dict[str, np.ndarray]) -> Any:
    values = [(weight, keras.ops.stop_gradient(weight.value)) for weight in head.weights]
    with keras.StatelessScope(state_mapping=values):
        return keras.tree.map_structure(keras.ops.convert_to_numpy, function(given))


def test_loss_and_gradients_are_those_of_transformers(
    golden: dict[str, np.ndarray], checkpoint: Checkpoint
) -> None:
    assert str(golden["versions"]).startswith("transformers ")
    engine = start(
        lambda: network(vocab=checkpoint.vocab_size),
        settings(beta_1=HALF, weight_decay=0.0, clip_norm=None),
    )
    engine.set_weights({name: checkpoint.weights[name] for name in engine.get_weights(averaged=False)})
    update = {name: values[None] for name, values in batch(golden).items()}
    result = engine.step(update, update_index=0, learning_rate=1e-3)()
    assert result.weight == (golden["targets"] >= 0).sum()
    assert result.loss == pytest.approx(float(golden["loss"]), abs=1e-5)
    state, compared = engine.get_state(), 0
    for entry in checkpoint.entries():
        if entry.ours not in engine.get_weights(averaged=False):
            continue
        prefix = "" if entry.group == "masked_words" else "bert."
        wanted = golden[f"gradients/{entry.spellings('huggingface', prefix)[0]}"]
        wanted = wanted.T if entry.transposed("huggingface") else wanted
        found = state[slot_name("momentum", entry.ours)] / HALF
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5, err_msg=entry.ours)
        compared += 1
    assert compared == len([name for name in golden if name.startswith("gradients/")])


def test_answers_count_what_is_asked_alone(golden: dict[str, np.ndarray], checkpoint: Checkpoint) -> None:
    head = network(vocab=checkpoint.vocab_size)
    for name, variable in named_variables(head).items():
        variable.assign(checkpoint.weights[name])
    given = batch(golden)
    found = called(head, head.answer, given)
    assert found["asked"].tolist() == (golden["targets"] >= 0).sum(axis=1).tolist() == [4, 3, 2]
    assert found["losses"].sum() / 9 == pytest.approx(float(golden["loss"]), abs=1e-5)
    assert (found["right"] <= found["asked"]).all()
    given["weight"][1:] = 0
    total, weight = called(head, head.loss, given)
    assert weight == 4 and total == pytest.approx(found["losses"][0], rel=1e-5)


def test_even_scores_cost_the_logarithm_of_the_vocabulary(golden: dict[str, np.ndarray]) -> None:
    head = network()
    for variable in named_variables(head.scores).values():
        variable.assign(np.zeros(variable.shape, np.float32))
    total, weight = called(head, head.loss, batch(golden))
    assert weight == 9 and total == pytest.approx(9 * np.log(30), rel=1e-6)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_decoder_reads_what_stayed_and_where_it_is_asked(precision: str) -> None:
    head = network(dropped=True, precision=precision)
    generator = np.random.default_rng(5)
    for name, variable in named_variables(head).items():
        base = 1.0 if name.endswith("norm/scale") else 0.0
        variable.assign(generator.normal(base, 0.4, variable.shape).astype(np.float32))
    given: dict[str, np.ndarray] = {
        "token_ids": np.array([[2, 7, 9, 8, 3], [2, 6, 3, 0, 0]], np.int32),
        "segment_ids": np.zeros((2, 5), np.int32),
        "position_ids": np.array([[0, 1, 3, 5, 6], [0, 2, 3, 4, 5]], np.int32),
        "lengths": np.array([5, 3], np.int32),
        "weight": np.ones(2, np.float32),
        "places": np.array([[2, 4], [1, 0]], np.int32),
        "targets": np.array([[11, 12], [13, -1]], np.int32),
    }
    first = called(head, head.answer, given)["losses"]
    padding = {**given, "token_ids": given["token_ids"].copy(), "position_ids": given["position_ids"].copy()}
    padding["token_ids"][1, 3:], padding["position_ids"][1, 3:], padding["places"] = 9, 7, given["places"]
    unasked = {**padding, "places": np.array([[2, 4], [1, 5]], np.int32)}
    for other in (padding, unasked):  # neither padding nor a place that is not asked is seen by the others
        np.testing.assert_allclose(called(head, head.answer, other)["losses"], first, rtol=1e-6)
    moved = {**given, "places": np.array([[4, 2], [1, 0]], np.int32)}
    assert abs(called(head, head.answer, moved)["losses"][0] - first[0]) > 1e-3
    context = {**given, "token_ids": given["token_ids"].copy()}
    context["token_ids"][0, 1] = 14
    assert abs(called(head, head.answer, context)["losses"][0] - first[0]) > 1e-3
