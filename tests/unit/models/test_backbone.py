"""The encoder and the classification head: shapes, names, padding, the first-token shortcut."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from keras import ops
from support.programs import one_program

from clue_runner.architectures.settings import build_backbone
from clue_runner.models.heads.labels import ClassificationHead, cross_entropy, pool
from clue_runner.models.initial import truncated_normal
from clue_runner.models.naming import decays, is_lookup, named_variables

Settings = Callable[..., Any]
Batch = dict[str, np.ndarray[Any, Any]]
NAMES_OF_A_BLOCK = {
    *(
        f"attention/{part}/{kind}"
        for part in ("query", "key", "value", "output")
        for kind in ("kernel", "bias")
    ),
    *(f"{part}/norm/{kind}" for part in ("attention", "feed_forward") for kind in ("scale", "offset")),
    *(f"feed_forward/{part}/{kind}" for part in ("inner", "outer") for kind in ("kernel", "bias")),
}


def encode(backbone: Any, batch: Batch, **options: Any) -> Any:
    """Call a backbone as heads do."""
    return backbone(batch, mask=np.arange(batch["token_ids"].shape[1]) < batch["lengths"][:, None], **options)


def numpy(value: Any) -> np.ndarray[Any, Any]:
    return np.asarray(ops.convert_to_numpy(ops.cast(value, "float32")))


def test_names_and_first_values(model_settings: Settings) -> None:
    backbone = build_backbone(model_settings(), 50, precision="float32", seed=9)
    head = ClassificationHead(backbone, 3, seed=9)
    weights = named_variables(head)
    expected = {f"backbone/block_{layer}/{name}" for layer in (0, 1) for name in NAMES_OF_A_BLOCK}
    expected |= {
        f"backbone/embeddings/{name}" for name in ("word", "position", "segment", "norm/scale", "norm/offset")
    }
    expected |= {
        f"{layer}/{kind}" for layer in ("backbone/pooler", "head/output") for kind in ("kernel", "bias")
    }
    assert set(weights) == expected
    for name, variable in weights.items():
        value = numpy(variable)
        if name.endswith(("/bias", "/offset")):
            assert not value.any()
        elif name.endswith("/scale"):
            assert (value == 1).all()
        else:
            assert np.array_equal(value, truncated_normal(9, name, value.shape))
            assert np.abs(value).max() <= 0.04
    assert [name for name, variable in weights.items() if is_lookup(variable)] == ["backbone/embeddings/word"]
    assert {name for name in weights if not decays(name)} == {
        name for name in weights if name.endswith(("bias", "scale", "offset"))
    }


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_shapes_and_precision(model_settings: Settings, batch: Batch, precision: str) -> None:
    backbone = build_backbone(model_settings(), 50, precision=precision, seed=1)
    sequence, pooled, _ = encode(backbone, batch)
    assert tuple(sequence.shape) == (5, 11, 32)
    assert tuple(pooled.shape) == (5, 32)
    assert all(str(variable.dtype) == "float32" for variable in backbone.weights)
    exact = encode(build_backbone(model_settings(), 50, precision="float32", seed=1), batch).sequence
    assert np.abs(numpy(sequence) - numpy(exact)).max() <= (0.0 if precision == "float32" else 0.05)


def test_padding_changes_nothing(model_settings: Settings, batch: Batch) -> None:
    backbone = build_backbone(model_settings(), 50, precision="float32", seed=1)
    whole = numpy(encode(backbone, batch).sequence)
    for row, length in list(enumerate(batch["lengths"]))[1:4]:
        alone = {key: value[row : row + 1] for key, value in batch.items()}
        alone = {key: value[:, :length] if value.ndim == 2 else value for key, value in alone.items()}
        found = one_program(lambda alone=alone: encode(backbone, alone).sequence)()
        np.testing.assert_allclose(whole[row, :length], numpy(found)[0], atol=2e-6)


def test_an_empty_row_gives_numbers(model_settings: Settings, batch: Batch) -> None:
    backbone = build_backbone(model_settings(), 50, precision="float32", seed=1)
    sequence, pooled, _ = encode(backbone, {**batch, "lengths": np.zeros(5, np.int32)})
    assert np.isfinite(numpy(sequence)).all()
    assert np.isfinite(numpy(pooled)).all()


@pytest.mark.parametrize("key", [None, np.array([3, 4], np.int32)], ids=["inference", "dropout"])
def test_first_only_computes_the_same_first_token(model_settings: Settings, batch: Batch, key: Any) -> None:
    # with dropout on the masks of the last block have another shape, so only the rates before it are on
    backbone = build_backbone(model_settings(), 50, precision="float32", seed=1)
    last = backbone.blocks[-1]
    last.rate = last.attention.rate = 0.0
    whole, pooled, _ = encode(backbone, batch, key=key)
    first, pooled_first, _ = encode(backbone, batch, key=key, first_only=True)
    assert tuple(first.shape) == (5, 1, 32)
    np.testing.assert_allclose(numpy(first)[:, 0], numpy(whole)[:, 0], atol=2e-6)
    np.testing.assert_allclose(numpy(pooled_first), numpy(pooled), atol=2e-6)


def test_position_ids_are_what_they_say(model_settings: Settings, batch: Batch) -> None:
    backbone = build_backbone(model_settings(), 50, precision="float32", seed=1)
    plain = numpy(encode(backbone, batch).sequence)
    positions = np.broadcast_to(np.arange(11, dtype=np.int32), (5, 11))
    np.testing.assert_allclose(numpy(encode(backbone, batch, positions=positions).sequence), plain, atol=1e-6)
    moved = numpy(encode(backbone, batch, positions=positions[:, ::-1].copy()).sequence)
    assert np.abs(moved[0] - plain[0]).max() > 1e-3


def test_dropout_depends_on_the_key_alone(model_settings: Settings, batch: Batch) -> None:
    backbone = build_backbone(model_settings(), 50, precision="float32", seed=1)
    one, two = np.array([1, 2], np.int32), np.array([1, 3], np.int32)
    first = numpy(encode(backbone, batch, key=one).sequence)
    assert np.array_equal(first, numpy(encode(backbone, batch, key=one).sequence))
    assert np.abs(first - numpy(encode(backbone, batch, key=two).sequence)).max() > 1e-3
    assert np.abs(first - numpy(encode(backbone, batch).sequence)).max() > 1e-3


def test_pooling_leaves_padding_out() -> None:
    values = np.arange(12, dtype=np.float32).reshape(1, 4, 3)
    lengths = np.array([2], np.int32)
    assert numpy(pool(ops.convert_to_tensor(values), lengths, "first")).tolist() == [[0, 1, 2]]
    assert numpy(pool(ops.convert_to_tensor(values), lengths, "mean")).tolist() == [[1.5, 2.5, 3.5]]
    assert numpy(pool(ops.convert_to_tensor(values), lengths, "max")).tolist() == [[3, 4, 5]]


def test_every_pooling_runs_and_the_pooler_is_asked_for(model_settings: Settings, batch: Batch) -> None:
    bare = build_backbone(model_settings(), 50, precision="float32", seed=1, pooler=False)
    assert encode(bare, batch).pooled is None
    for pooling in ("first", "mean", "max"):
        logits = one_program(ClassificationHead(bare, 4, pooling=pooling).answer)(batch)["logits"]
        assert tuple(logits.shape) == (5, 4)
    with pytest.raises(ValueError, match="needs a backbone with a pooler"):
        ClassificationHead(bare, 4, pooling="pooler")


def test_cross_entropy_by_hand() -> None:
    logits = np.log(np.array([[1, 3], [1, 1], [5, 5]], np.float32))
    label, weight = np.array([1, 0, -1], np.int32), np.array([1, 2, 0], np.float32)
    total, count = cross_entropy(ops.convert_to_tensor(logits), label, weight)
    assert float(total) == pytest.approx(-np.log(0.75) + 2 * np.log(2), abs=1e-6)
    assert float(count) == 3
