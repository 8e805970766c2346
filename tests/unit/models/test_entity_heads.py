from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import ops
from support.programs import one_program

from clue_runner.adapters.sections import load_run
from clue_runner.architectures.settings import build_backbone
from clue_runner.models.dropout import update_keys
from clue_runner.models.heads.entity_heads import PointerHead, TagHead
from clue_runner.models.naming import named_variables

TYPES = 3
HEADS = ("globalpointer", "efficient", "crf", "softmax")


class Network:
    """A head on a small backbone, its loss compiled once for each shape on JAX."""

    def __init__(self, kind: str, precision: str = "float32") -> None:
        run = load_run(task="cluener", card_settings={}, model="test", overrides=["model.num_layers=1"])
        backbone = build_backbone(run.model, 50, precision=precision, seed=1, pooler=False)
        if kind in {"crf", "softmax"}:
            self.head: Any = TagHead(backbone, 1 + 2 * TYPES, chain=kind == "crf", seed=1)
        else:
            self.head = PointerHead(backbone, TYPES, head_size=8, efficient=kind == "efficient", seed=1)
        self.kind = kind
        self.run = one_program(self.head.loss)

    def losses(self, batch: dict[str, Any], key: Any = None) -> tuple[float, float]:
        """Return (loss, weight)."""
        tensors = {name: ops.convert_to_tensor(values) for name, values in batch.items()}
        loss, weight = self.run(tensors, key)
        assert keras.backend.standardize_dtype(loss.dtype) == "float32"
        return float(loss), float(weight)


@pytest.fixture(scope="module", params=HEADS)
def network(request: pytest.FixtureRequest) -> Network:
    return Network(request.param)


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


def test_padding_changes_nothing(network: Network) -> None:
    tight = network.losses(batch_of([7, 9, 5], 9))
    padded = network.losses(batch_of([7, 9, 5], 14, padding_rows=2))
    assert padded == pytest.approx(tight, rel=1e-4)


def test_loss_and_weight_add_up_over_rows(network: Network) -> None:
    whole = network.losses(batch_of([7, 9, 5], 9))
    parts = []
    for row in range(3):
        batch = batch_of([7, 9, 5], 9)
        batch["weight"][:] = np.arange(3) == row
        parts.append(network.losses(batch))
    assert np.sum(parts, axis=0) == pytest.approx(whole, rel=1e-5)
    assert whole[1] == (3 if network.kind in {"globalpointer", "efficient"} else 5 + 7 + 3)


def test_a_text_without_tokens_costs_nothing(network: Network) -> None:
    batch = batch_of([2, 9, 5], 9)
    batch["spans"][0, :, 0] = -1
    batch["weight"][1:] = 0
    assert network.losses(batch)[0] == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("kind", ["globalpointer", "crf"])
def test_precisions_agree(kind: str) -> None:
    batch = batch_of([7, 9, 5], 9)
    exact, short = Network(kind).losses(batch), Network(kind, "bfloat16").losses(batch)
    assert short == pytest.approx(exact, rel=2e-2) and short != exact


def test_dropout_follows_the_key() -> None:
    batch, network = batch_of([7, 9, 5], 9), Network("softmax")
    one, two = (ops.convert_to_tensor(update_keys(3, update, 1)[0]) for update in (0, 1))
    assert network.losses(batch, one) == network.losses(batch, one) != network.losses(batch, two)


def test_names_of_weights(network: Network) -> None:
    assert {name for name in named_variables(network.head) if name.startswith("head/")} == {
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
    }[network.kind]
