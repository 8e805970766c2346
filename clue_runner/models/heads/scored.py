"""Heads that score first and compute the loss from the scores, so that techniques can use the scores.

In: a backbone's vectors. Out: scores, the loss as (sum, weight), the divergence of two passes' scores.
Knows nothing about techniques' settings, records or metrics.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from keras import ops

from clue_runner.models import dropout
from clue_runner.models.heads.base import Head


class Objective(NamedTuple):
    """How a head takes its loss.

    Args:
        smoothing: share of the target that is spread evenly over all classes.
        focus: gamma of the focal loss: what is known already counts less; 0: all count alike.
        samples: dropout masks before the output layer, whose losses are averaged.
    """

    smoothing: float = 0.0
    focus: float = 0.0
    samples: int = 1


class ScoredHead(Head):
    """A head whose loss is a function of scores, and these of the backbone's vectors.

    Attributes:
        objective: how the loss is taken; techniques set it, once, after the head was built.
        refused: technique -> why this head cannot have it.
    """

    objective = Objective()
    refused: Mapping[str, str] = {}

    def reason_against(self, technique: str) -> str | None:
        """Return why the head cannot have a technique; None: it can."""
        return self.refused.get(technique)

    def vectors(self, batch: Mapping[str, Any], key: Any | None) -> Any:
        """Return the backbone's vectors, in the compute type, before the head's own dropout."""
        raise NotImplementedError

    def scores(self, vectors: Any, batch: Mapping[str, Any], key: Any | None) -> Any:
        """Return float32 scores of vectors; the key draws the head's dropout alone."""
        raise NotImplementedError

    def loss_of(self, scores: Any, batch: Mapping[str, Any]) -> tuple[Any, Any]:
        """Return (sum of example losses, sum of example weights), float32 scalars."""
        raise NotImplementedError

    def distributions(self, scores: Any, batch: Mapping[str, Any]) -> Sequence[tuple[Any, Any]]:
        """Return (logits, weights): softmaxes over the last axis of logits, and what each counts."""
        raise NotImplementedError

    def scored(self, batch: Mapping[str, Any], key: Any | None) -> Any:
        """Return the scores of a batch."""
        return self.scores(self.vectors(batch, key), batch, key)

    def draws(self, batch: Mapping[str, Any], key: Any) -> list[Any]:
        """Return the scores of one pass, once for each of ``objective.samples`` masks."""
        vectors, samples = self.vectors(batch, key), self.objective.samples
        keys = [key] + [dropout.fold(key, f"sample {number}") for number in range(1, samples)]
        return [self.scores(vectors, batch, one) for one in keys]

    def mean_loss(self, draws: Sequence[Any], batch: Mapping[str, Any]) -> tuple[Any, Any]:
        """Return the mean of the draws' losses, and the weight."""
        losses = [self.loss_of(scores, batch) for scores in draws]
        return sum(loss for loss, _ in losses[1:]) / len(draws) + losses[0][0] / len(draws), losses[0][1]

    def loss(self, batch: Mapping[str, Any], key: Any | None = None) -> tuple[Any, Any]:
        """Return (sum of example losses, sum of example weights), float32 scalars."""
        if key is None or self.objective.samples == 1:
            return self.loss_of(self.scored(batch, key), batch)
        return self.mean_loss(self.draws(batch, key), batch)

    def divergence(self, first: Any, second: Any, batch: Mapping[str, Any]) -> Any:
        """Return the sum over examples of KL(first || second) + KL(second || first), a float32 scalar."""
        pairs = zip(self.distributions(first, batch), self.distributions(second, batch), strict=True)
        return sum(
            (ops.sum(symmetric_divergence(one, other) * weight) for (one, weight), (other, _) in pairs),
            start=np.float32(0),
        )


def symmetric_divergence(first: Any, second: Any) -> Any:
    """Return KL(p || q) + KL(q || p) of the softmaxes of two tensors of logits over their last axis."""
    logs = [scores - ops.logsumexp(scores, axis=-1, keepdims=True) for scores in (first, second)]
    return ops.sum((ops.exp(logs[0]) - ops.exp(logs[1])) * (logs[0] - logs[1]), axis=-1)


def softmax_losses(scores: Any, chosen: Any, objective: Objective, allowed: Any | None = None) -> Any:
    """Return the cross-entropies over the last axis, as the objective says.

    Args:
        scores: (..., classes) float32.
        chosen: the same shape, 1 at the right class, else 0; all 0: a loss that is not counted.
        objective: smoothing and focus.
        allowed: the same shape, bool: classes that can be chosen; None: all. Others' scores are very low.
    """
    total = ops.logsumexp(scores, axis=-1)
    if not objective.smoothing and not objective.focus:
        return total - ops.sum(chosen * scores, axis=-1)
    logs, target = scores - total[..., None], chosen
    if allowed is not None:
        logs = ops.where(allowed, logs, np.float32(0))
    if objective.smoothing:
        among = ops.ones_like(scores) if allowed is None else ops.cast(allowed, "float32")
        even = among / ops.maximum(ops.sum(among, axis=-1, keepdims=True), 1.0)
        target = target * (1 - objective.smoothing) + even * objective.smoothing
    if objective.focus:
        # never quite 0, where the slope of a power below 1 has no limit
        target = target * ops.maximum(1 - ops.exp(logs), 1e-7) ** objective.focus
    return -ops.sum(target * logs, axis=-1)
