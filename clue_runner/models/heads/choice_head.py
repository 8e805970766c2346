"""The head that scores choices: one number per row, a softmax over the rows of a group.

In: a backbone and a batch in which the rows of a group follow each other. Out: a score per row, and the loss
as (sum, weight). Knows nothing about questions, choices' texts or how answers are decoded.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from keras import ops

from clue_runner.models.heads.labels import PLAIN, ClassificationHead, Pooling
from clue_runner.models.heads.scored import Objective, softmax_losses
from clue_runner.models.kernels import NEGATIVE


class ChoiceHead(ClassificationHead):
    """One dense column on the pooled row; its bias cancels in the softmax and stays at 0.

    Args:
        backbone: a ``Backbone``.
        pooling: as in ``ClassificationHead``.
        dropout_rate: before the output layer.
        drop_share: as in ``ClassificationHead``.
        seed: source of the initial weights.
    """

    def __init__(
        self,
        backbone: Any,
        *,
        pooling: Pooling = "pooler",
        dropout_rate: float = 0.1,
        drop_share: float = 0.0,
        seed: int = 0,
    ) -> None:
        super().__init__(
            backbone, 1, pooling=pooling, dropout_rate=dropout_rate, drop_share=drop_share, seed=seed
        )

    def scores(self, vectors: Any, batch: Mapping[str, Any], key: Any | None) -> Any:
        """Return (rows,) float32."""
        return super().scores(vectors, batch, key)[:, 0]

    def loss_of(self, scores: Any, batch: Mapping[str, Any]) -> tuple[Any, Any]:
        """Return (sum of the groups' cross-entropies, number of groups), float32 scalars."""
        choice, label, weight = batch["choice"], batch["label"], batch["weight"]
        return group_cross_entropy(scores, choice, label, weight, self.objective)

    def distributions(self, scores: Any, batch: Mapping[str, Any]) -> list[tuple[Any, Any]]:
        """Return each group's softmax, at the row of its right choice."""
        same, right = _groups(batch["choice"], batch["label"], batch["weight"])
        return [(ops.where(same, scores[None, :], NEGATIVE), right)]


def group_cross_entropy(
    logits: Any, choice: Any, label: Any, weight: Any, objective: Objective = PLAIN
) -> tuple[Any, Any]:
    """Return (sum, groups) of softmax cross-entropy, each softmax over the rows of one group.

    The groups are told apart by a (rows, rows) mask: shapes stay those of the batch whatever the groups'
    sizes are, and no scatter decides the order of a sum.

    Args:
        logits: (rows,) float32.
        choice: (rows,) int32, the row's place in its group; a group begins at 0.
        label: (rows,) int32, 1 on the right row of a group, 0 on the others.
        weight: (rows,) float32, 0 on padding rows, which belong to no group and can get no probability.
        objective: smoothing and focus.
    """
    same, right = _groups(choice, label, weight)
    scores = ops.where(same, logits[None, :], NEGATIVE)
    if objective.smoothing or objective.focus:
        chosen = ops.eye(ops.shape(logits)[0], dtype="float32")
        losses = softmax_losses(scores, chosen, objective, same)
    else:
        losses = ops.logsumexp(scores, axis=-1) - logits
    return ops.sum(ops.where(right > 0, losses, 0.0)), ops.sum(right)


def _groups(choice: Any, label: Any, weight: Any) -> tuple[Any, Any]:
    """Return (rows, rows) bool: of one group; (rows,) float32: 1 on each group's right row."""
    real = weight > 0
    group = ops.cumsum(ops.cast(ops.logical_and(choice == 0, real), "int32"))
    same = ops.logical_and(group[:, None] == group[None, :], real[None, :])
    return same, ops.cast(ops.logical_and(label == 1, real), "float32")
