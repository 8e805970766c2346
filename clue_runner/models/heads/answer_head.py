"""Task layers that find one answer in a text: a score for every span, or for its first and last token.

In: a backbone and a batch of windows (a question, then a part of a text). Out: in training the scores and
the loss as (sum, weight); at inference the best spans of each window with their log-probabilities, so that
no table of all spans leaves the device. Knows nothing about characters, records or metrics.

A window that does not hold the answer is trained to point at [CLS], the cell (0, 0); it takes part in the
softmax, and at inference only tokens of the text can be chosen.

Source: CLUE-bert4keras (kexue.fm/archives/8739) for the single GlobalPointer head, CLUE's and SQuAD's BERT
baselines for the two columns.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from keras import ops

from clue_runner.models.heads.base import encoded
from clue_runner.models.heads.labels import dropped
from clue_runner.models.heads.scored import ScoredHead
from clue_runner.models.heads.span_scorer import SpanScorer, spans_allowed
from clue_runner.models.kernels import NEGATIVE, dense

CANDIDATES = 20  # answers kept of each window


class AnswerHead(ScoredHead):
    """The common part of both forms: vectors of all tokens, and classes that most texts do not have."""

    refused = dict.fromkeys(
        ("label_smoothing", "focal"), "its classes are places in a text, most of which cannot be the answer"
    )

    def vectors(self, batch: Mapping[str, Any], key: Any | None) -> Any:
        """Return (rows, length, width)."""
        return encoded(self.backbone, batch, key)[0]


class SpanAnswerHead(AnswerHead):
    """GlobalPointer with one head: a softmax over all spans of a window.

    Args:
        backbone: a ``Backbone``.
        head_size: width of the vectors whose products are the scores.
        longest: most tokens in an answer, at inference; None: unlimited.
        dropout_rate: before the scorer.
        seed: source of the initial weights.
    """

    def __init__(
        self,
        backbone: Any,
        *,
        head_size: int = 64,
        longest: int | None = None,
        dropout_rate: float = 0.1,
        seed: int = 0,
    ) -> None:
        policy = backbone.dtype_policy.name
        super().__init__("head", seed, policy)
        self.span_tables = 1
        self.backbone, self.longest, self.rate = backbone, longest, dropout_rate
        self.scorer = SpanScorer(
            "head/scorer", seed, policy, width=backbone.width, types=1, head_size=head_size
        )

    def span_scores(self, batch: Mapping[str, Any], key: Any | None) -> Any:
        """Return (rows, length, length) float32."""
        return self.scored(batch, key)

    def scores(self, vectors: Any, batch: Mapping[str, Any], key: Any | None) -> Any:
        """Return (rows, length, length) float32."""
        sequence = dropped(vectors, self.backbone, key, self.rate)
        return self.scorer(sequence, with_first(text_tokens(batch)))[:, 0]

    def answer(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """Return what ``best_spans`` does, of log-probabilities."""
        scores = self.span_scores(batch, None)
        total = ops.logsumexp(_flat(scores), axis=-1)
        return best_spans(scores - total[:, None, None], text_tokens(batch), self.longest)

    def distributions(self, scores: Any, batch: Mapping[str, Any]) -> list[tuple[Any, Any]]:
        """Return the softmax over all spans of each window."""
        return [(_flat(scores), batch["weight"])]

    def loss_of(self, scores: Any, batch: Mapping[str, Any]) -> tuple[Any, Any]:
        """Return (sum of weighted cross-entropies over all spans, sum of weights), float32 scalars."""
        answer = batch["answer"]
        cell = answer[:, 0] * ops.shape(scores)[1] + answer[:, 1]
        losses = _cross_entropies(_flat(scores), cell)
        return ops.sum(losses * batch["weight"]), ops.sum(batch["weight"])


class BorderAnswerHead(AnswerHead):
    """Two columns: a softmax over first tokens and one over last tokens.

    Args:
        backbone: a ``Backbone``.
        longest: most tokens in an answer, at inference; None: unlimited.
        dropout_rate: before the output layer.
        seed: source of the initial weights.
    """

    def __init__(
        self, backbone: Any, *, longest: int | None = None, dropout_rate: float = 0.1, seed: int = 0
    ) -> None:
        super().__init__("head", seed, backbone.dtype_policy.name)
        self.backbone, self.longest, self.rate = backbone, longest, dropout_rate
        self.kernel = self.weight("output/kernel", (backbone.width, 2))
        self.bias = self.weight("output/bias", (2,), "zeros")

    def border_scores(self, batch: Mapping[str, Any], key: Any | None) -> Any:
        """Return (rows, 2, length) float32."""
        return self.scored(batch, key)

    def scores(self, vectors: Any, batch: Mapping[str, Any], key: Any | None) -> Any:
        """Return (rows, 2, length) float32."""
        sequence = dropped(vectors, self.backbone, key, self.rate)
        flat = ops.cast(ops.reshape(sequence, (-1, self.backbone.width)), "float32")
        columns = dense(flat, ops.convert_to_tensor(self.kernel), ops.convert_to_tensor(self.bias))
        shape = (ops.shape(sequence)[0], ops.shape(sequence)[1], 2)
        scores = ops.transpose(ops.reshape(columns, shape), (0, 2, 1))
        return ops.where(with_first(text_tokens(batch))[:, None, :], scores, np.float32(NEGATIVE))

    def answer(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """Return what ``best_spans`` does, of log-probabilities."""
        scores = self.border_scores(batch, None)
        logs = scores - ops.logsumexp(scores, axis=-1, keepdims=True)
        spans = logs[:, 0, :, None] + logs[:, 1, None, :]
        return best_spans(spans, text_tokens(batch), self.longest)

    def distributions(self, scores: Any, batch: Mapping[str, Any]) -> list[tuple[Any, Any]]:
        """Return the softmaxes over first and over last tokens, each of half weight."""
        return [(scores[:, column], batch["weight"] / 2) for column in (0, 1)]

    def loss_of(self, scores: Any, batch: Mapping[str, Any]) -> tuple[Any, Any]:
        """Return (sum of the weighted means of both cross-entropies, sum of weights), float32 scalars."""
        answer = batch["answer"]
        losses = _cross_entropies(scores[:, 0], answer[:, 0]) + _cross_entropies(scores[:, 1], answer[:, 1])
        return ops.sum(losses * batch["weight"]) / 2, ops.sum(batch["weight"])


def best_spans(scores: Any, text: Any, longest: int | None) -> dict[str, Any]:
    """Return the ``CANDIDATES`` best spans of each row, best first, the earlier one among equals.

    Args:
        scores: (rows, length, length) float32, first token, then last.
        text: (rows, length) bool, tokens that an answer may begin and end on.
        longest: most tokens in an answer.

    Returns:
        ``best_first`` and ``best_last`` (rows, candidates) int32 tokens, ``best_scores`` float32, at most
        ``NEGATIVE`` where a row has no more spans.

    The best spans lie in the rows whose best entry is among the best, so that only those are sorted.
    """
    rows, length = ops.shape(scores)[0], ops.shape(scores)[1]
    allowed = spans_allowed(text)[:, 0]
    if longest is not None:
        positions = ops.arange(length)
        allowed = ops.logical_and(allowed, (positions[None, :] - positions[:, None] < longest)[None])
    scores = ops.where(allowed, scores, np.float32(NEGATIVE))
    # a row may have fewer tokens than there are candidates
    best_of_first = ops.pad(ops.max(scores, axis=2), ((0, 0), (0, CANDIDATES)), constant_values=NEGATIVE)
    row_scores, first = ops.top_k(best_of_first, CANDIDATES)
    first = ops.minimum(first, length - 1)
    offsets = ops.arange(rows)[:, None] * length
    candidates = ops.take(ops.reshape(scores, (-1, length)), offsets + first, axis=0)
    candidates = ops.where((row_scores > NEGATIVE / 2)[:, :, None], candidates, np.float32(NEGATIVE))
    best_scores, index = ops.top_k(ops.reshape(candidates, (rows, CANDIDATES * length)), CANDIDATES)
    return {
        "best_first": ops.take_along_axis(first, index // length, axis=1),
        "best_last": index % length,
        "best_scores": best_scores,
    }


def text_tokens(batch: Mapping[str, Any]) -> Any:
    """Return (rows, length) bool: tokens of the text; not the question's, not the last [SEP], no padding."""
    positions = ops.arange(ops.shape(batch["token_ids"])[1])[None, :]
    before_last = positions < batch["lengths"][:, None] - 1
    return ops.logical_and(positions >= batch["text_start"][:, None], before_last)


def with_first(text: Any) -> Any:
    """Return ``text`` with the first token, which stands for "no answer in this window"."""
    return ops.logical_or(text, ops.arange(ops.shape(text)[1])[None, :] == 0)


def _flat(scores: Any) -> Any:
    """Return (rows, length * length)."""
    return ops.reshape(scores, (ops.shape(scores)[0], ops.shape(scores)[1] * ops.shape(scores)[2]))


def _cross_entropies(scores: Any, index: Any) -> Any:
    """Return (rows,): log of the sum of exp of (rows, n) scores, minus the score at ``index`` (rows,)."""
    offsets = ops.arange(ops.shape(scores)[0]) * ops.shape(scores)[1]
    # by place in one flat array: a 0/1 mask of all spans would be as large as the scores
    chosen = ops.take(ops.reshape(scores, (-1,)), offsets + index)
    return ops.logsumexp(scores, axis=-1) - chosen
