from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from keras import ops
from support.programs import one_program

from clue_runner.adapters.sections import load_run
from clue_runner.architectures.settings import build_backbone
from clue_runner.models.heads.choice_head import ChoiceHead, group_cross_entropy
from clue_runner.models.naming import named_variables

LENGTH = 6
COLUMNS = ("choice", "label", "weight")


def head(precision: str = "float32") -> ChoiceHead:
    run = load_run(task="c3", card_settings={}, model="test", overrides=["model.num_layers=1"])
    return ChoiceHead(build_backbone(run.model, 50, precision=precision, seed=1), seed=1)


def rows_of(sizes: Sequence[int], right: Sequence[int], padding: int = 0) -> dict[str, Any]:
    """Return a batch of groups with ``sizes`` choices, of which ``right`` is the right one in each."""
    generator = np.random.default_rng(3)
    choice = np.concatenate([*(np.arange(size) for size in sizes), np.zeros(padding, int)]).astype(np.int32)
    wanted = np.repeat(right, sizes)
    rows = len(wanted)
    token_ids = generator.integers(1, 50, (rows + padding, LENGTH)).astype(np.int32)
    return {
        "token_ids": token_ids,
        "segment_ids": np.zeros_like(token_ids),
        "lengths": np.array([LENGTH] * rows + [1] * padding, np.int32),
        "choice": choice,
        "label": np.append(choice[:rows] == wanted, [False] * padding).astype(np.int32),
        "weight": np.array([1.0] * rows + [0.0] * padding, np.float32),
    }


def loss_of(logits: Sequence[float], batch: dict[str, Any]) -> tuple[float, float]:
    values = np.asarray(logits, np.float32)
    run = one_program(group_cross_entropy)
    loss, groups = run(*map(ops.convert_to_tensor, (values, *(batch[name] for name in COLUMNS))))
    return float(loss), float(groups)


def tensors(batch: dict[str, Any]) -> dict[str, Any]:
    return {name: ops.convert_to_tensor(values) for name, values in batch.items()}


def softmax(values: Any) -> Any:
    powers = np.exp(np.asarray(values) - np.max(values))
    return powers / powers.sum()


def test_loss_of_groups_of_different_sizes_by_hand() -> None:
    batch = rows_of([2, 3, 10], [1, 0, 9])
    logits = np.linspace(-2, 3, 15).astype(np.float32)
    wanted = -sum(
        np.log(softmax(logits[start:end])[right]) for start, end, right in ((0, 2, 1), (2, 5, 0), (5, 15, 9))
    )
    assert loss_of(logits, batch) == (pytest.approx(wanted, abs=1e-6), 3.0)


def test_even_scores_cost_the_logarithm_of_the_choices() -> None:
    loss, groups = loss_of([0.0] * 14, rows_of([4, 10], [2, 3]))
    assert loss == pytest.approx(np.log(4) + np.log(10), abs=1e-6) and groups == 2


def test_padding_changes_nothing_whatever_its_scores_are() -> None:
    logits = [0.3, -1.0, 2.0, 0.5, 0.1]
    plain = loss_of(logits, rows_of([3, 2], [0, 1]))
    padded = loss_of([*logits, 90.0, -90.0, 5.0], rows_of([3, 2], [0, 1], padding=3))
    assert padded == pytest.approx(plain, abs=1e-6)


def test_a_micro_batch_of_padding_alone_is_zero_and_finite() -> None:
    batch = rows_of([1], [0])
    batch["weight"] = np.zeros(1, np.float32)
    assert loss_of([4.0], batch) == (0.0, 0.0)


@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 1e-6), ("bfloat16", 1e-6)])
def test_permuting_the_choices_with_the_label_changes_nothing(precision: str, tolerance: float) -> None:
    network = head(precision)
    batch = rows_of([4, 3, 10], [2, 0, 7], padding=3)
    order = np.concatenate([[3, 1, 0, 2], 4 + np.array([1, 2, 0]), 7 + np.arange(10)[::-1], [17, 18, 19]])
    turned = {name: values[order] for name, values in batch.items()}
    turned["choice"] = batch["choice"]  # a place in the group, not a property of the row
    answer, loss = one_program(network.answer), one_program(network.loss)
    first, second = answer(tensors(batch)), answer(tensors(turned))
    logits = np.asarray(ops.convert_to_numpy(first["logits"]))
    again = np.asarray(ops.convert_to_numpy(second["logits"]))
    assert logits.dtype == np.float32 and logits.shape == (20,)
    np.testing.assert_allclose(again, logits[order], atol=tolerance)
    one = [float(value) for value in loss(tensors(batch))]
    other = [float(value) for value in loss(tensors(turned))]
    assert one == pytest.approx(other, rel=1e-6) and one[1] == 3.0
    for start, end in ((0, 4), (4, 7), (7, 17)):
        best = start + int(logits[start:end].argmax())
        assert order[start + int(again[start:end].argmax())] == best


def test_one_column_under_the_head_and_no_gradient_for_its_bias() -> None:
    variables = named_variables(head())
    assert variables["head/output/kernel"].shape == (32, 1) and variables["head/output/bias"].shape == (1,)
    batch = rows_of([3, 4], [1, 1])
    moved = loss_of(np.arange(7) + 100.0, batch)
    assert moved == pytest.approx(loss_of(np.arange(7), batch), abs=1e-4)
