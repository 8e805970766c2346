"""Task layers on top of the backbone: classification of a text or a pair.

In: a backbone and a batch of tensors. Out: logits, and the loss as (sum, weight).
Knows nothing about labels' names, records or metrics.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from keras import ops

from clue_runner.models import dropout
from clue_runner.models.drop_tokens import drop_tokens
from clue_runner.models.heads.base import encoded
from clue_runner.models.heads.scored import Objective, ScoredHead, softmax_losses
from clue_runner.models.kernels import NEGATIVE, dense

Pooling = Literal["pooler", "first", "mean", "max"]
PLAIN = Objective()


class ClassificationHead(ScoredHead):
    """One dense layer on the pooled text.

    Args:
        backbone: a ``Backbone``.
        num_labels: classes.
        pooling: ``pooler`` (dense + tanh on the first token), ``first``, ``mean`` or ``max``.
        dropout_rate: before the output layer.
        drop_share: of a row's tokens that training leaves out, see ``drop_tokens``.
        seed: source of the initial weights.
    """

    def __init__(
        self,
        backbone: Any,
        num_labels: int,
        *,
        pooling: Pooling = "pooler",
        dropout_rate: float = 0.1,
        drop_share: float = 0.0,
        seed: int = 0,
    ) -> None:
        super().__init__("head", seed, backbone.dtype_policy.name)
        if pooling == "pooler" and not backbone.has_pooler:
            raise ValueError("pooling 'pooler' needs a backbone with a pooler")
        self.backbone = backbone
        self.num_labels, self.pooling, self.rate = num_labels, pooling, dropout_rate
        self.drop_share = drop_share
        self.every_token = pooling in {"mean", "max"}
        self.kernel = self.weight("output/kernel", (backbone.width, num_labels))
        self.bias = self.weight("output/bias", (num_labels,), "zeros")

    def logits(self, batch: Mapping[str, Any], key: Any | None) -> Any:
        """Return (rows, labels) float32; ``key=None``: no dropout."""
        return self.scored(batch, key)

    def vectors(self, batch: Mapping[str, Any], key: Any | None) -> Any:
        """Return (rows, width): the pooled texts."""
        batch = drop_tokens(batch, self.drop_share, key)
        sequence, pooled = encoded(self.backbone, batch, key, first_only=not self.every_token)
        return pooled if self.pooling == "pooler" else pool(sequence, batch["lengths"], self.pooling)

    def scores(self, vectors: Any, batch: Mapping[str, Any], key: Any | None) -> Any:
        """Return (rows, labels) float32."""
        text = vectors
        shape = (ops.shape(text)[0], self.backbone.width)
        text = dropout.apply(text, dropout.mask(key, "head", shape, self.rate, self.compute_dtype))
        kernel, bias = ops.convert_to_tensor(self.kernel), ops.convert_to_tensor(self.bias)
        return dense(ops.cast(text, "float32"), kernel, bias)

    def loss_of(self, scores: Any, batch: Mapping[str, Any]) -> tuple[Any, Any]:
        """Return (sum of weighted cross-entropies, sum of weights), float32 scalars."""
        return cross_entropy(scores, batch["label"], batch["weight"], self.objective)

    def distributions(self, scores: Any, batch: Mapping[str, Any]) -> list[tuple[Any, Any]]:
        """Return the labels' softmax of each row."""
        return [(scores, batch["weight"])]

    def answer(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """Return ``logits`` (rows, labels) float32."""
        return {"logits": self.logits(batch, None)}


def dropped(sequence: Any, backbone: Any, dropout_key: Any | None, rate: float) -> Any:
    """Return the backbone's (rows, length, width) after the head's dropout."""
    shape = (ops.shape(sequence)[0], ops.shape(sequence)[1], backbone.width)
    return dropout.apply(sequence, dropout.mask(dropout_key, "head", shape, rate, backbone.compute_dtype))


def pool(sequence: Any, lengths: Any, pooling: str) -> Any:
    """Return (rows, width): the first token, or the mean or maximum over the tokens before padding."""
    if pooling == "first":
        return sequence[:, 0]
    inside = (ops.arange(ops.shape(sequence)[1])[None, :] < ops.expand_dims(lengths, 1))[:, :, None]
    values = ops.cast(sequence, "float32")
    if pooling == "max":
        return ops.cast(ops.max(ops.where(inside, values, NEGATIVE), axis=1), sequence.dtype)
    total = ops.sum(ops.where(inside, values, 0.0), axis=1)
    count = ops.cast(ops.maximum(lengths, 1), "float32")
    return ops.cast(total / ops.expand_dims(count, 1), sequence.dtype)


def cross_entropy(logits: Any, label: Any, weight: Any, objective: Objective = PLAIN) -> tuple[Any, Any]:
    """Return (sum, weight) of softmax cross-entropy; a label of -1 belongs to a row of weight 0.

    Args:
        logits: (rows, labels) float32.
        label: (rows,) int32.
        weight: (rows,) float32; 0 on padding rows.
        objective: smoothing and focus.
    """
    chosen = ops.one_hot(label, logits.shape[-1], dtype="float32")
    losses = softmax_losses(logits, chosen, objective)
    return ops.sum(losses * weight), ops.sum(weight)
