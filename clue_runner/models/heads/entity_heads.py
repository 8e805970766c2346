"""Task layers that find spans of several types in a text: pointers over all spans, or one tag per token.

In: a backbone and a batch of tensors. Out: scores of spans or tags, and the loss as (sum, weight).
Knows nothing about types' names, characters or metrics.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from keras import ops

from clue_runner.models.heads import crf
from clue_runner.models.heads.base import encoded
from clue_runner.models.heads.labels import dropped
from clue_runner.models.heads.scored import ScoredHead, softmax_losses
from clue_runner.models.heads.span_scorer import SpanScorer, multilabel_loss
from clue_runner.models.kernels import dense

NO_CLASSES = "its loss ranks spans against a threshold: there are no classes of which one is correct"
CHAIN = "a chain of tags is scored as a whole: tokens have no separate distributions"


class PointerHead(ScoredHead):
    """GlobalPointer, or its efficient form, on the backbone's token vectors.

    Args:
        backbone: a ``Backbone``.
        types: kinds of spans.
        head_size: width of the vectors whose products are the scores.
        efficient: the form in which types share the product.
        dropout_rate: before the scorer.
        seed: source of the initial weights.
    """

    def __init__(
        self,
        backbone: Any,
        types: int,
        *,
        head_size: int = 64,
        efficient: bool = False,
        dropout_rate: float = 0.1,
        seed: int = 0,
    ) -> None:
        super().__init__("head", seed, backbone.dtype_policy.name)
        self.refused = dict.fromkeys(("label_smoothing", "focal", "r_drop"), NO_CLASSES)
        self.backbone, self.rate, self.span_tables = backbone, dropout_rate, types
        self.scorer = SpanScorer(
            "head/scorer",
            seed,
            backbone.dtype_policy.name,
            width=backbone.width,
            types=types,
            head_size=head_size,
            efficient=efficient,
        )

    def span_scores(self, batch: Mapping[str, Any], key: Any | None) -> Any:
        """Return (rows, types, length, length) float32; above 0 is a span."""
        return self.scored(batch, key)

    def vectors(self, batch: Mapping[str, Any], key: Any | None) -> Any:
        """Return (rows, length, width)."""
        return encoded(self.backbone, batch, key)[0]

    def scores(self, vectors: Any, batch: Mapping[str, Any], key: Any | None) -> Any:
        """Return (rows, types, length, length) float32."""
        return self.scorer(dropped(vectors, self.backbone, key, self.rate), text_tokens(batch))

    def answer(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """Return ``span_scores`` (rows, types, length, length) float32; above 0 is a span."""
        return {"span_scores": self.span_scores(batch, None)}

    def loss_of(self, scores: Any, batch: Mapping[str, Any]) -> tuple[Any, Any]:
        """Return (sum of multi-label losses, sum of weights), float32 scalars."""
        losses = multilabel_loss(scores, batch["spans"])
        return ops.sum(losses * batch["weight"]), ops.sum(batch["weight"])


class TagHead(ScoredHead):
    """One tag per token, independently (softmax) or as a chain (CRF).

    The weight of a row is the number of its tokens, so that the loss is one of tokens in both forms.

    Args:
        backbone: a ``Backbone``.
        tags: kinds of tags.
        chain: score transitions between neighbours too.
        dropout_rate: before the output layer.
        seed: source of the initial weights.
    """

    def __init__(
        self, backbone: Any, tags: int, *, chain: bool = False, dropout_rate: float = 0.1, seed: int = 0
    ) -> None:
        super().__init__("head", seed, backbone.dtype_policy.name)
        self.refused = dict.fromkeys(("label_smoothing", "focal", "r_drop"), CHAIN) if chain else {}
        self.backbone, self.rate, self.chain = backbone, dropout_rate, chain
        self.kernel = self.weight("output/kernel", (backbone.width, tags))
        self.bias = self.weight("output/bias", (tags,), "zeros")
        if chain:
            self.transitions = self.weight("chain/transitions", (tags, tags), "zeros")
            self.start = self.weight("chain/start", (tags,), "zeros")
            self.end = self.weight("chain/end", (tags,), "zeros")

    def tag_scores(self, batch: Mapping[str, Any], key: Any | None) -> Any:
        """Return (rows, length, tags) float32."""
        return self.scored(batch, key)

    def vectors(self, batch: Mapping[str, Any], key: Any | None) -> Any:
        """Return (rows, length, width)."""
        return encoded(self.backbone, batch, key)[0]

    def scores(self, vectors: Any, batch: Mapping[str, Any], key: Any | None) -> Any:
        """Return (rows, length, tags) float32."""
        sequence = dropped(vectors, self.backbone, key, self.rate)
        flat = ops.cast(ops.reshape(sequence, (-1, self.backbone.width)), "float32")
        scores = dense(flat, ops.convert_to_tensor(self.kernel), ops.convert_to_tensor(self.bias))
        rows, length = ops.shape(batch["token_ids"])[0], ops.shape(batch["token_ids"])[1]
        return ops.reshape(scores, (rows, length, self.kernel.shape[1]))

    def answer(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """Return ``tag_scores`` (rows, length, tags) float32; a chain's transitions, start and end."""
        outputs = {"tag_scores": self.tag_scores(batch, None)}
        if self.chain:
            outputs |= {
                "transitions": ops.convert_to_tensor(self.transitions),
                "start": ops.convert_to_tensor(self.start),
                "end": ops.convert_to_tensor(self.end),
            }
        return outputs

    def loss_of(self, scores: Any, batch: Mapping[str, Any]) -> tuple[Any, Any]:
        """Return (sum of negative log-likelihoods, number of text tokens), float32 scalars."""
        tags, inside = batch["tag"], self._inside(batch)
        if self.chain:
            chain = [ops.convert_to_tensor(weight) for weight in (self.transitions, self.start, self.end)]
            # behind [CLS]; what [SEP] and padding hold is not looked at
            counts = ops.maximum(batch["lengths"] - 2, 0)
            likelihood = crf.log_likelihood(scores[:, 1:], tags[:, 1:], counts, *chain)
            return -ops.sum(likelihood * batch["weight"]), ops.sum(inside)
        chosen = ops.one_hot(tags, scores.shape[-1], dtype="float32")
        losses = softmax_losses(scores, chosen, self.objective)
        return ops.sum(losses * inside), ops.sum(inside)

    def distributions(self, scores: Any, batch: Mapping[str, Any]) -> list[tuple[Any, Any]]:
        """Return the tags' softmax of each text token."""
        return [(scores, self._inside(batch))]

    def _inside(self, batch: Mapping[str, Any]) -> Any:
        """Return (rows, length) float32: 1 on the text tokens of rows that count."""
        return ops.cast(text_tokens(batch), "float32") * batch["weight"][:, None]


def text_tokens(batch: Mapping[str, Any]) -> Any:
    """Return (rows, length) bool: tokens between [CLS] and [SEP]."""
    positions = ops.arange(ops.shape(batch["token_ids"])[1])[None, :]
    return ops.logical_and(positions > 0, positions < batch["lengths"][:, None] - 1)
