"""Losses with smoothing and focus against Keras and by hand; how far two passes' answers are apart."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from clue_runner.models.heads.choice_head import group_cross_entropy
from clue_runner.models.heads.labels import cross_entropy
from clue_runner.models.heads.scored import Objective, softmax_losses, symmetric_divergence

SCORES = np.random.default_rng(1).normal(0, 2, (6, 4)).astype(np.float32)
LABELS = np.array([0, 3, 1, 2, 2, -1], np.int32)
WEIGHTS = np.array([1, 1, 1, 1, 1, 0], np.float32)


def numpy(value: Any) -> Any:
    from keras import ops

    return np.asarray(ops.convert_to_numpy(value))


def tensors(*values: Any) -> list[Any]:
    from keras import ops

    return [ops.convert_to_tensor(value) for value in values]


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.4])
def test_label_smoothing_is_that_of_keras(smoothing: float) -> None:
    import keras

    theirs = keras.losses.CategoricalCrossentropy(
        from_logits=True, label_smoothing=smoothing, reduction="sum"
    )
    expected = float(theirs(np.eye(4, dtype=np.float32)[LABELS[:5]], SCORES[:5]))
    loss, weight = cross_entropy(*tensors(SCORES, LABELS, WEIGHTS), Objective(smoothing=smoothing))
    assert float(loss) == pytest.approx(expected, rel=1e-5) and float(weight) == 5


@pytest.mark.parametrize(("focus", "smoothing"), [(2.0, 0.0), (0.5, 0.0), (2.0, 0.2)])
def test_focal_loss_is_that_of_keras(focus: float, smoothing: float) -> None:
    import keras

    theirs = keras.losses.CategoricalFocalCrossentropy(
        alpha=1.0, gamma=focus, from_logits=True, label_smoothing=smoothing, reduction="sum"
    )
    expected = float(theirs(np.eye(4, dtype=np.float32)[LABELS[:5]], SCORES[:5]))
    loss, _ = cross_entropy(*tensors(SCORES, LABELS, WEIGHTS), Objective(smoothing, focus))
    assert float(loss) == pytest.approx(expected, rel=1e-4)


def test_focus_by_hand() -> None:
    """Two even classes: p = 1/2, so that gamma 2 leaves a quarter of ln 2."""
    losses = softmax_losses(
        *tensors(np.zeros((1, 2), np.float32), np.array([[1, 0]], np.float32)), Objective(0, 2.0)
    )
    assert float(numpy(losses)[0]) == pytest.approx(math.log(2) / 4, rel=1e-6)


def test_choices_share_the_target_of_their_question_alone() -> None:
    logits = np.array([0.3, -1.0, 2.0, 0.5, 1.5, 9.0], np.float32)
    choice = np.array([0, 1, 0, 1, 2, 0], np.int32)
    label = np.array([1, 0, 0, 0, 1, 0], np.int32)
    expected = 0.0
    for group, right in ((logits[:2], 0), (logits[2:5], 2)):
        logs = group - np.log(np.exp(group).sum())
        target = 0.9 * np.eye(len(group))[right] + 0.1 / len(group)
        expected -= float((target * logs).sum())
    found = group_cross_entropy(*tensors(logits, choice, label, WEIGHTS), Objective(smoothing=0.1))
    assert [float(value) for value in found] == pytest.approx([expected, 2.0], rel=1e-5)


def test_divergence_of_two_classes_by_hand() -> None:
    """(1/2, 1/2) and (3/4, 1/4): a quarter of ln 3, whichever comes first; nothing of equal ones."""
    even, other = tensors(np.zeros((1, 2), np.float32), np.array([[math.log(3), 0]], np.float32))
    for pair in ((even, other), (other, even)):
        assert float(numpy(symmetric_divergence(*pair))[0]) == pytest.approx(math.log(3) / 4, rel=1e-6)
    assert float(numpy(symmetric_divergence(other, other))[0]) == 0


def test_impossible_classes_add_nothing_to_the_divergence() -> None:
    low = np.float32(-1e9)
    pair = tensors(np.array([[0.5, 1, low]], np.float32), np.array([[2, 0.25, low]], np.float32))
    short = tensors(np.array([[0.5, 1]], np.float32), np.array([[2, 0.25]], np.float32))
    found, expected = (float(numpy(symmetric_divergence(*both))[0]) for both in (pair, short))
    assert found == pytest.approx(expected)
