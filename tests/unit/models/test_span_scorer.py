from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from clue_runner.models.heads.span_scorer import SpanScorer, multilabel_loss
from clue_runner.models.kernels import NEGATIVE

FILLER = (-1, 0, 0)


def scorer(**changes: Any) -> SpanScorer:
    settings: dict[str, Any] = {"width": 6, "types": 3, "head_size": 4, **changes}
    return SpanScorer("scorer", 7, "float32", **settings)


def grid(values: list[float]) -> Any:
    """Return scores of one row and type whose allowed cells, behind [CLS], hold ``values``."""
    scores = np.full((1, 1, 4, 4), NEGATIVE, np.float32)
    scores[0, 0, 1, 1 : 1 + len(values)] = values
    return ops.convert_to_tensor(scores)


def loss_of(scores: Any, spans: list[Any]) -> Any:
    return ops.convert_to_numpy(multilabel_loss(scores, ops.convert_to_tensor(np.array([spans], np.int32))))


@pytest.mark.parametrize(("logits", "loss"), [([0.0, 0.0, 0.0], 1.791759), ([2.0, -1.0, -3.0], 0.475940)])
def test_loss_by_hand(logits: list[float], loss: float) -> None:
    assert loss_of(grid(logits), [(0, 1, 1)]) == pytest.approx([loss], abs=1e-6)
    assert loss_of(grid(logits), [(0, 1, 1), FILLER, FILLER]) == pytest.approx([loss], abs=1e-6)


def test_loss_without_true_spans_and_without_cells() -> None:
    assert loss_of(grid([1.0]), [FILLER]) == pytest.approx([np.log1p(np.e)], abs=1e-6)
    assert loss_of(grid([]), [FILLER]) == pytest.approx([0.0])  # a text without tokens
    assert loss_of(grid([50.0, -50.0]), [(0, 1, 1)]) == pytest.approx([0.0], abs=1e-6)
    assert loss_of(grid([-80.0, 80.0]), [(0, 1, 1)]) == pytest.approx([160.0], rel=1e-6)


def test_loss_equals_the_dense_form_and_its_slope() -> None:
    generator = np.random.default_rng(3)
    scores = generator.normal(size=(2, 3, 5, 5)).astype(np.float32) * 3
    scores[:, :, 0], scores[:, :, :, 0] = NEGATIVE, NEGATIVE
    spans = np.array([[[0, 1, 2], [0, 2, 3], [2, 4, 4]], [[1, 1, 4], FILLER, FILLER]], np.int32)
    truth = np.zeros(scores.shape, bool)
    for row in range(2):
        for kind, first, last in spans[row]:
            if kind >= 0:
                truth[row, kind, first, last] = True
    powers = np.exp(scores.astype(np.float64))
    others = (powers * ~truth).sum(axis=(2, 3))
    missing = np.where(truth, 1 / np.maximum(powers, 1e-300), 0).sum(axis=(2, 3))
    expected = (np.log1p(others) + np.log1p(missing)).mean(axis=1)
    found = ops.convert_to_numpy(multilabel_loss(ops.convert_to_tensor(scores), ops.convert_to_tensor(spans)))
    assert found == pytest.approx(expected, rel=1e-5)
    slope = np.where(
        truth,
        -1 / np.maximum(powers, 1e-300) / (1 + missing)[:, :, None, None],
        powers / (1 + others)[:, :, None, None],
    )
    assert slope_of(scores, spans) == pytest.approx(slope / 3, abs=1e-5)


def slope_of(scores: Any, spans: Any) -> Any:
    """Return the gradient of the summed loss, on either backend."""

    def total(values: Any) -> Any:
        return ops.sum(multilabel_loss(values, ops.convert_to_tensor(spans)))

    if keras.backend.backend() == "jax":
        import jax

        return np.asarray(jax.grad(total)(jax.numpy.asarray(scores)))
    import tensorflow as tf

    values = tf.constant(scores)
    with tf.GradientTape() as tape:
        tape.watch(values)
        loss = total(values)
    return tf.convert_to_tensor(tape.gradient(loss, values)).numpy()


@pytest.mark.parametrize("efficient", [False, True])
def test_no_span_backwards_or_on_what_is_not_text_can_win(efficient: bool) -> None:
    generator = np.random.default_rng(1)
    sequence = generator.normal(size=(2, 6, 6)).astype(np.float32) * 100
    allowed = np.zeros((2, 6), bool)
    allowed[0, 1:5], allowed[1, 1:3] = True, True
    layer = scorer(efficient=efficient)
    scores = ops.convert_to_numpy(layer(ops.convert_to_tensor(sequence), ops.convert_to_tensor(allowed)))
    first, last = np.indices((6, 6))
    for row in range(2):
        outside = (first > last) | ~allowed[row][:, None] | ~allowed[row][None, :]
        assert (scores[row][:, outside] == NEGATIVE).all()
        assert (scores[row][:, ~outside] > NEGATIVE / 2).all()


@pytest.mark.parametrize("efficient", [False, True])
def test_scores_depend_on_distance_and_not_on_place(efficient: bool) -> None:
    vectors = np.random.default_rng(2).normal(size=(2, 6)).astype(np.float32)

    def score(first: int, last: int, **changes: Any) -> Any:
        sequence = np.zeros((1, 8, 6), np.float32)
        sequence[0, first], sequence[0, last] = vectors
        layer = scorer(efficient=efficient, **changes)
        layer.kernel.assign(np.random.default_rng(4).normal(size=layer.kernel.shape))
        allowed = ops.convert_to_tensor(np.ones((1, 8), bool))
        return ops.convert_to_numpy(layer(ops.convert_to_tensor(sequence), allowed))[0, :, first, last]

    assert score(1, 3) == pytest.approx(score(4, 6), abs=1e-4)
    assert np.abs(score(1, 3) - score(1, 5)).max() > 1e-2
    assert score(1, 3, rotary=False) == pytest.approx(score(1, 5, rotary=False), abs=1e-5)


def test_an_odd_head_size_is_refused() -> None:
    with pytest.raises(ValueError, match="even"):
        scorer(head_size=5)
