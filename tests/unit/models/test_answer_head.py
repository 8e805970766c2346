from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import keras
import numpy as np
import pytest
from keras import ops

from clue_runner.models.backbone import Encoded
from clue_runner.models.dropout import update_keys
from clue_runner.models.heads.answer_head import (
    CANDIDATES,
    BorderAnswerHead,
    SpanAnswerHead,
    best_spans,
    text_tokens,
)
from clue_runner.models.kernels import NEGATIVE
from clue_runner.models.naming import named_variables

HEADS = ("globalpointer", "start_end")
KEY = update_keys(1, 0, 1)[0]


class Words:
    """Stands for a backbone: one fixed vector a token and its place, no attention."""

    def __init__(self, precision: str) -> None:
        self.width = 16
        self.dtype_policy = SimpleNamespace(name=precision)
        self.compute_dtype = "float32" if precision == "float32" else "bfloat16"
        generator = np.random.default_rng(2)
        self._words = generator.normal(size=(50, self.width)).astype(np.float32)
        self._places = generator.normal(size=(64, self.width)).astype(np.float32)

    def __call__(self, tokens: Any, **options: Any) -> Encoded:
        places = ops.convert_to_tensor(self._places)[: tokens["token_ids"].shape[1]]
        words = ops.take(ops.convert_to_tensor(self._words), tokens["token_ids"], axis=0)
        return Encoded(ops.cast(words + places, self.compute_dtype), None)


def head(kind: str, precision: str = "float32", longest: int | None = None, dropout: float = 0.0) -> Any:
    shared: dict[str, Any] = {"longest": longest, "dropout_rate": dropout, "seed": 1}
    if kind == "globalpointer":
        return SpanAnswerHead(Words(precision), head_size=8, **shared)
    return BorderAnswerHead(Words(precision), **shared)


def batch_of(lengths: list[int], length: int, padding_rows: int = 0) -> dict[str, Any]:
    """Rows [CLS] q q [SEP] text [SEP]; the second row's answer is elsewhere."""
    rows = len(lengths) + padding_rows
    token_ids = np.random.default_rng(5).integers(1, 50, (8, 32)).astype(np.int32)[:rows, :length]
    all_lengths = np.array(lengths + [1] * padding_rows, np.int32)
    token_ids[np.arange(length)[None, :] >= all_lengths[:, None]] = 0
    answer = np.zeros((rows, 2), np.int32)
    answer[0] = (5, 6)
    return {
        "token_ids": token_ids,
        "segment_ids": np.zeros_like(token_ids),
        "lengths": all_lengths,
        "text_start": np.array([4] * len(lengths) + [0] * padding_rows, np.int32),
        "answer": answer,
        "weight": np.array([1.0] * len(lengths) + [0.0] * padding_rows, np.float32),
    }


def tensors(batch: dict[str, Any]) -> dict[str, Any]:
    return {name: ops.convert_to_tensor(values) for name, values in batch.items()}


def compiled(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """One program in place of many operations: JAX would compile each of them."""
    if keras.backend.backend() != "jax":
        return function
    import jax

    return cast(Callable[[Any], Any], jax.jit(function))


def run_head(network: Any, batch: dict[str, Any]) -> dict[str, Any]:
    answers = compiled(network.answer)(tensors(batch))
    return {name: ops.convert_to_numpy(value) for name, value in answers.items()}


def scores_of(network: Any, batch: dict[str, Any], key: Any) -> Any:
    scores = network.span_scores if isinstance(network, SpanAnswerHead) else network.border_scores
    return ops.convert_to_numpy(compiled(lambda sent: scores(sent, key))(tensors(batch)))


def loss_of(network: Any, batch: dict[str, Any]) -> tuple[float, float]:
    loss, weight = compiled(lambda sent: network.loss(sent, KEY))(tensors(batch))
    assert keras.backend.standardize_dtype(loss.dtype) == "float32"
    return float(loss), float(weight)


def sort_all(scores: Any, text: Any, longest: int | None) -> list[tuple[float, int, int]]:
    """Every allowed span of one row, best first: the plain way."""
    places = np.flatnonzero(text)
    spans = [(float(scores[i, j]), int(i), int(j)) for i in places for j in places if i <= j]
    kept = [one for one in spans if longest is None or one[2] - one[1] < longest]
    return sorted(kept, key=lambda one: -one[0])


@pytest.mark.parametrize(("length", "longest"), [(6, None), (40, None), (40, 3)])
def test_best_spans_are_those_that_sorting_everything_finds(length: int, longest: int | None) -> None:
    generator = np.random.default_rng(length)
    scores = generator.normal(size=(3, length, length)).astype(np.float32)
    text = generator.random((3, length)) < 0.7
    text[2] = False
    sent = {"scores": ops.convert_to_tensor(scores), "text": ops.convert_to_tensor(text)}
    best = compiled(lambda sent: best_spans(sent["scores"], sent["text"], longest))(sent)
    found = {name: ops.convert_to_numpy(value) for name, value in best.items()}
    assert found["best_scores"].shape == (3, CANDIDATES)
    assert found["best_first"].dtype == found["best_last"].dtype == np.int32
    for row in range(3):
        wanted = sort_all(scores[row], text[row], longest)[:CANDIDATES]
        real = int((found["best_scores"][row] > NEGATIVE / 2).sum())
        columns = (found[name][row, :real].tolist() for name in ("best_scores", "best_first", "best_last"))
        assert list(zip(*columns, strict=True)) == wanted
    assert (found["best_scores"][2] <= NEGATIVE / 2).all()


@pytest.mark.parametrize("kind", HEADS)
def test_no_span_outside_the_text_can_win(kind: str) -> None:
    """Below the diagonal, the question, [CLS], [SEP] and padding, however large their scores are."""
    network = head(kind)
    for name, variable in named_variables(network).items():
        if name.startswith("head/"):
            variable.assign(np.random.default_rng(3).normal(size=variable.shape) * 100)
    batch = batch_of([12, 9, 7], 20, padding_rows=2)
    found = run_head(network, batch)
    for row, length in enumerate(batch["lengths"].tolist()):
        real = found["best_scores"][row] > NEGATIVE / 2
        text = max(length - 5, 0)
        assert real.sum() == min(CANDIDATES, text * (text + 1) // 2)
        first, last = found["best_first"][row][real], found["best_last"][row][real]
        assert ((first >= 4) & (first <= last) & (last <= length - 2)).all()
        assert (np.diff(found["best_scores"][row][real]) <= 0).all()
    assert not np.isnan(found["best_scores"]).any()


@pytest.mark.parametrize("kind", HEADS)
def test_the_longest_answer_is_kept(kind: str) -> None:
    found = run_head(head(kind, longest=2), batch_of([12], 12))
    real = found["best_scores"][0] > NEGATIVE / 2
    assert (found["best_last"][0][real] - found["best_first"][0][real]).max() == 1
    assert real.sum() == 7 + 6


@pytest.mark.parametrize("kind", HEADS)
def test_scores_are_logarithms_of_shares_of_all_spans(kind: str) -> None:
    """With few spans all are listed; they and those that touch [CLS] are everything."""
    network, batch = head(kind), batch_of([9], 12)
    listed = np.exp(run_head(network, batch)["best_scores"][0].astype(np.float64)).sum()
    if kind == "start_end":
        assert 0 < listed < 1  # pairs in the wrong order have a share too
        return
    scores = scores_of(network, batch, KEY)[0].astype(np.float64)
    shares = np.exp(scores - np.log(np.exp(scores).sum()))
    assert listed + shares[0].sum() == pytest.approx(1.0, abs=1e-6)
    assert np.count_nonzero(shares > 1e-12) == 4 * 5 // 2 + 5  # the text's spans, and [CLS] with each token


@pytest.mark.parametrize("kind", HEADS)
def test_loss_is_the_cross_entropy_by_hand(kind: str) -> None:
    network, batch = head(kind), batch_of([9, 9], 12)
    scores = scores_of(network, batch, KEY)
    if kind == "globalpointer":
        tables = [(scores.reshape(2, -1), np.array([5 * 12 + 6, 0]), 1.0)]
    else:
        tables = [(scores[:, 0], np.array([5, 0]), 0.5), (scores[:, 1], np.array([6, 0]), 0.5)]
    wanted = sum(
        share * (np.log(np.exp(table.astype(np.float64)).sum(axis=1)) - table[[0, 1], index]).sum()
        for table, index, share in tables
    )
    assert loss_of(network, batch) == (pytest.approx(wanted, abs=1e-4), 2.0)


@pytest.mark.parametrize("kind", HEADS)
def test_even_scores_give_the_logarithm_of_the_number_of_spans(kind: str) -> None:
    """Hand case: 4 tokens of text and [CLS]: 15 spans, or 5 places twice."""
    network, batch = head(kind), batch_of([9], 12)
    for name, variable in named_variables(network).items():
        if name.startswith("head/"):
            variable.assign(np.zeros(variable.shape, np.float32))
    assert loss_of(network, batch)[0] == pytest.approx(np.log(15 if kind == "globalpointer" else 5), abs=1e-5)


@pytest.mark.parametrize("kind", HEADS)
def test_padding_changes_nothing(kind: str) -> None:
    network = head(kind)
    tight, padded = batch_of([12, 9, 7], 12), batch_of([12, 9, 7], 20, padding_rows=2)
    assert loss_of(network, padded) == pytest.approx(loss_of(network, tight), abs=1e-4)
    one, other = run_head(network, tight), run_head(network, padded)
    for row, spans in enumerate((28, 10, 3)):
        count = min(spans, CANDIDATES)
        assert other["best_scores"][row, :count] == pytest.approx(one["best_scores"][row, :count], abs=1e-5)
        assert other["best_first"][row, :count].tolist() == one["best_first"][row, :count].tolist()
        assert other["best_last"][row, :count].tolist() == one["best_last"][row, :count].tolist()


@pytest.mark.parametrize("kind", HEADS)
def test_bfloat16_is_near_float32(kind: str) -> None:
    batch = batch_of([12, 9, 7], 12)
    exact, half = loss_of(head(kind), batch), loss_of(head(kind, "mixed_bfloat16"), batch)
    assert half == pytest.approx(exact, rel=0.02)
    found = run_head(head(kind, "mixed_bfloat16"), batch)
    assert found["best_scores"].dtype == np.float32


@pytest.mark.parametrize("kind", HEADS)
def test_dropout_follows_from_its_key(kind: str) -> None:
    network, batch = head(kind, dropout=0.5), batch_of([12], 12)
    again = [scores_of(network, batch, key) for key in (KEY, KEY, update_keys(2, 0, 1)[0])]
    assert (again[0] == again[1]).all()
    assert (again[0] != again[2]).any()


def test_text_tokens_are_between_the_question_and_the_last_separator() -> None:
    inside = ops.convert_to_numpy(text_tokens(tensors(batch_of([12, 7], 12, padding_rows=1))))
    assert [np.flatnonzero(row).tolist() for row in inside] == [list(range(4, 11)), [4, 5], []]


def test_weights_have_stable_names() -> None:
    names = {kind: {n for n in named_variables(head(kind)) if n.startswith("head/")} for kind in HEADS}
    assert names["globalpointer"] == {"head/scorer/pointer/kernel"}
    assert names["start_end"] == {"head/output/kernel", "head/output/bias"}
