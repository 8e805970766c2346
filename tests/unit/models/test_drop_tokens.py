"""DropToken: which tokens stay, that the rest of the network sees the same row, and who may not use it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from keras import ops
from support.programs import one_program

from clue_runner.adapters.fitting import require_droppable
from clue_runner.adapters.sections import load_run
from clue_runner.architectures.settings import build_backbone
from clue_runner.data.cards import find_card
from clue_runner.errors import UsageError
from clue_runner.models.drop_tokens import choose_tokens, drop_tokens, kept_length
from clue_runner.models.heads.choice_head import ChoiceHead
from clue_runner.models.heads.labels import ClassificationHead
from clue_runner.models.kernels import padding_mask

KEY = np.array([99, -12345], np.int32)
CLS, SEP = 40, 41
Batch = dict[str, np.ndarray[Any, Any]]


def numpy(value: Any) -> np.ndarray[Any, Any]:
    return np.asarray(ops.convert_to_numpy(ops.cast(value, "float32")))


@pytest.fixture
def batch() -> Batch:
    """Six rows of up to 40 tokens: pairs with two [SEP], a short one, a padding row of one token."""
    generator = np.random.default_rng(5)
    lengths = np.array([40, 33, 40, 12, 5, 1], np.int32)
    inside = np.arange(40) < lengths[:, None]
    token_ids = np.where(inside, generator.integers(1, 40, (6, 40)), 0).astype(np.int32)
    token_ids[:, 0] = CLS
    token_ids[np.arange(5), lengths[:5] - 1] = SEP
    token_ids[:4, 9] = SEP
    segment_ids = np.where(inside, np.arange(40) > 9, 0).astype(np.int32)
    return {"token_ids": token_ids, "segment_ids": segment_ids, "lengths": lengths}


def tensors(batch: Batch) -> dict[str, Any]:
    return {name: ops.convert_to_tensor(value) for name, value in batch.items()}


def chosen(batch: Batch, share: float, key: Any = KEY) -> tuple[Any, Any]:
    choose = one_program(lambda ids, lengths, key: choose_tokens(ids, lengths, share, key))
    found = choose(*(ops.convert_to_tensor(one) for one in (batch["token_ids"], batch["lengths"], key)))
    return tuple(ops.convert_to_numpy(one) for one in found)


@pytest.mark.parametrize("share", [0.1, 0.15, 0.5, 0.9])
def test_the_kept_length_is_one_function_for_numbers_and_tensors(share: float) -> None:
    lengths = np.arange(1, 600, dtype=np.int32)
    found = ops.convert_to_numpy(kept_length(ops.convert_to_tensor(lengths), share))
    assert found.tolist() == [kept_length(int(length), share) for length in lengths]
    assert (np.diff(found) >= 0).all() and (found >= np.minimum(lengths, 8)).all()
    assert abs(found[-1] - 599 * (1 - share)) <= 1


@pytest.mark.parametrize("share", [0.15, 0.5, 0.9])
def test_which_tokens_stay(batch: Batch, share: float) -> None:
    kept, counts = chosen(batch, share)
    assert kept.shape == (6, kept_length(40, share))
    for row, (places, count) in enumerate(zip(kept, counts, strict=True)):
        length = int(batch["lengths"][row])
        assert count == max(kept_length(length, share), min(length, 3 if row < 4 else 2))
        assert (np.diff(places[:count]) > 0).all() and places[count - 1] == length - 1
        assert places[0] == 0 and ((places >= 0) & (places < 40)).all()
        if row < 4:
            assert 9 in places[:count]  # the [SEP] between the texts


def test_the_choice_is_by_lot_and_a_function_of_the_key(batch: Batch) -> None:
    rows = np.repeat(np.arange(40)[None], 400, axis=0).astype(np.int32) + 100
    many = {"token_ids": rows, "lengths": np.full(400, 40, np.int32)}
    kept, counts = chosen(many, 0.5)
    assert (counts == 20).all()
    times = np.bincount(kept.ravel(), minlength=40)
    assert times[0] == times[39] == 400  # [CLS] and [SEP]
    assert np.abs(times[1:39] / 400 - 18 / 38).max() < 0.1
    assert np.array_equal(kept, chosen(many, 0.5)[0])
    assert not np.array_equal(kept, chosen(many, 0.5, KEY + 1)[0])


def test_kept_tokens_are_those_of_the_whole_row_with_columns_masked(
    model_settings: Callable[..., Any], batch: Batch
) -> None:
    network = build_backbone(
        model_settings(dropout=0.0, attention_dropout=0.0), 50, precision="float32", seed=3
    )
    cut = drop_tokens(tensors(batch), 0.5, KEY)
    counts, places = ops.convert_to_numpy(cut["lengths"]), ops.convert_to_numpy(cut["position_ids"])
    assert np.array_equal(
        ops.convert_to_numpy(cut["token_ids"]), np.take_along_axis(batch["token_ids"], places, axis=1)
    )
    mask = padding_mask(cut["lengths"], cut["token_ids"].shape[1])
    short = numpy(network(cut, mask=mask, positions=cut["position_ids"], key=KEY).sequence)

    seen = np.zeros((6, 40), bool)
    for row, count in enumerate(counts):
        seen[row, places[row, :count]] = True
    whole = numpy(network(tensors(batch), mask=seen, key=KEY).sequence)
    for row, count in enumerate(counts):
        np.testing.assert_allclose(short[row, :count], whole[row, places[row, :count]], atol=1e-5)


def test_only_training_drops(model_settings: Callable[..., Any], batch: Batch) -> None:
    same = tensors(batch)
    assert drop_tokens(same, 0.5, None) is same and drop_tokens(same, 0.0, KEY) is same
    settings = model_settings(dropout=0.0, attention_dropout=0.0)
    network = build_backbone(settings, 50, precision="float32", seed=3)
    for kind in (
        lambda **more: ClassificationHead(network, 3, **more),
        lambda **more: ChoiceHead(network, **more),
    ):
        plain, dropping = kind(dropout_rate=0.0, seed=1), kind(dropout_rate=0.0, drop_share=0.5, seed=1)
        expected = numpy(plain.answer(same)["logits"])
        np.testing.assert_array_equal(numpy(dropping.answer(same)["logits"]), expected)
        np.testing.assert_array_equal(numpy(plain.logits(same, KEY)), expected)
        dropped = numpy(dropping.logits(same, KEY))
        cut = drop_tokens(same, 0.5, KEY)
        np.testing.assert_allclose(dropped, numpy(plain.answer(cut)["logits"]), atol=1e-6)
        assert not np.array_equal(dropped[:4], expected[:4])
        np.testing.assert_allclose(dropped[4:], expected[4:], atol=1e-6)  # short rows are whole


def test_tasks_about_single_tokens_refuse() -> None:
    for name, fine in (
        ("iflytek", True),
        ("c3", True),
        ("cluener", False),
        ("cmrc2018", False),
        ("chid", False),
    ):
        run = load_run(task=name, card_settings={}, model="test", overrides=["train.drop_tokens=0.1"])
        if fine:
            require_droppable(find_card(name), run)
            continue
        with pytest.raises(UsageError, match="single tokens"):
            require_droppable(find_card(name), run)
