from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from clue_runner.config.loader import load_run
from clue_runner.models.build import build_backbone
from clue_runner.models.dropout import update_keys
from clue_runner.models.entity_heads import PointerHead, TagHead
from clue_runner.models.naming import named_variables

TYPES = 3
HEADS = ("globalpointer", "efficient", "crf", "softmax")


def head(kind: str, precision: str = "float32") -> Any:
    run = load_run(task="cluener", card_settings={}, model="test", configs=[], overrides=[], flags={})
    backbone = build_backbone(run.model, 50, dtype_policy=precision, seed=1, pooler=False)
    if kind in {"crf", "softmax"}:
        return TagHead(backbone, 1 + 2 * TYPES, chain=kind == "crf", seed=1)
    return PointerHead(backbone, TYPES, head_size=8, efficient=kind == "efficient", seed=1)


def batch_of(lengths: list[int], length: int, padding_rows: int = 0) -> dict[str, Any]:
    """Return rows that only depend on their place and length."""
    rows = len(lengths) + padding_rows
    generator = np.random.default_rng(5)
    token_ids = generator.integers(1, 50, (8, 16)).astype(np.int32)[:rows, :length]
    tags = np.zeros((rows, length), np.int32)
    tags[:, 1:3] = (1, 2)
    spans = np.zeros((rows, 2, 3), np.int32)  # what padding rows hold
    spans[: len(lengths)] = ((0, 1, 2), (-1, 0, 0))
    all_lengths = np.array(lengths + [1] * padding_rows, np.int32)
    token_ids[np.arange(length)[None, :] >= all_lengths[:, None]] = 0
    return {
        "token_ids": token_ids,
        "segment_ids": np.zeros_like(token_ids),
        "lengths": all_lengths,
        "tag": tags,
        "spans": spans,
        "weight": np.array([1.0] * len(lengths) + [0.0] * padding_rows, np.float32),
    }


def losses(network: Any, batch: dict[str, Any], key: Any = None) -> tuple[float, float]:
    tensors = {name: ops.convert_to_tensor(values) for name, values in batch.items()}
    loss, weight = network.loss(network(tensors, dropout_key=key), tensors)
    assert keras.backend.standardize_dtype(loss.dtype) == "float32"
    return float(loss), float(weight)


@pytest.mark.parametrize("kind", HEADS)
def test_padding_changes_nothing(kind: str) -> None:
    network = head(kind)
    tight = losses(network, batch_of([7, 9, 5], 9))
    padded = losses(network, batch_of([7, 9, 5], 14, padding_rows=2))
    assert padded == pytest.approx(tight, rel=1e-4)


@pytest.mark.parametrize("kind", HEADS)
def test_loss_and_weight_add_up_over_rows(kind: str) -> None:
    network = head(kind)
    whole = losses(network, batch_of([7, 9], 9))
    parts = []
    for row in range(2):
        batch = batch_of([7, 9], 9)
        batch["weight"][1 - row] = 0
        parts.append(losses(network, batch))
    assert np.sum(parts, axis=0) == pytest.approx(whole, rel=1e-5)
    assert whole[1] == (2 if kind in {"globalpointer", "efficient"} else 5 + 7)


@pytest.mark.parametrize("kind", HEADS)
def test_a_text_without_tokens_costs_nothing(kind: str) -> None:
    batch = batch_of([2], 4)
    batch["spans"][:, :, 0] = -1
    loss, _ = losses(head(kind), batch)
    assert loss == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("kind", HEADS)
def test_precisions_agree_and_dropout_follows_the_key(kind: str) -> None:
    batch = batch_of([7, 9, 5], 9)
    exact, short = losses(head(kind), batch), losses(head(kind, "bfloat16"), batch)
    assert short == pytest.approx(exact, rel=2e-2)
    one, two = (ops.convert_to_tensor(update_keys(3, update, 1)[0]) for update in (0, 1))
    network = head(kind)
    assert losses(network, batch, one) == losses(network, batch, one) != losses(network, batch, two)


def test_names_of_weights() -> None:
    own = {kind: {name for name in named_variables(head(kind)) if name.startswith("head/")} for kind in HEADS}
    assert own == {
        "globalpointer": {"head/scorer/pointer/kernel"},
        "efficient": {"head/scorer/pointer/kernel", "head/scorer/type/kernel"},
        "crf": {
            "head/output/kernel",
            "head/output/bias",
            "head/chain/transitions",
            "head/chain/start",
            "head/chain/end",
        },
        "softmax": {"head/output/kernel", "head/output/bias"},
    }
