"""Focal loss of two taggers behind one gate, from logits, so that no probability is rounded to 0 or 1.

In: logits, 0/1 labels, a mask. Out: the sum of losses and the number of positions.
Knows nothing about networks. Source: Lin et al. 2017, "Focal Loss for Dense Object Detection".
"""

from __future__ import annotations

from typing import Any

from keras import ops

SMALLEST = 1e-8  # probabilities are kept inside [SMALLEST, 1 - SMALLEST]


def gated_probability(gate: Any, logits: Any) -> tuple[Any, Any]:
    """Return (p, 1 - p) of ``p = sigmoid(gate) * sigmoid(logits)``, both exact even if the other is tiny.

    Args:
        gate: (rows,) float32.
        logits: (rows, length) float32.
    """
    gate = ops.expand_dims(gate, 1)
    open_gate, tag = ops.sigmoid(gate), ops.sigmoid(logits)
    return open_gate * tag, ops.sigmoid(-gate) + open_gate * ops.sigmoid(-logits)


def focal_loss(label: Any, probability: Any, rest: Any, *, alpha: float, gamma: float) -> Any:
    """Return the loss of each position.

    A label of 1 costs ``-alpha log(p) (1 - p)^gamma``, a label of 0 ``-(1 - alpha) log(1 - p) p^gamma``.

    Args:
        label: 0 or 1, float32.
        probability: p of each position.
        rest: 1 - p.
        alpha: weight of the positions labelled 1.
        gamma: how strongly easy positions are down-weighted; 0 is plain weighted cross-entropy.
    """
    probability = ops.clip(probability, SMALLEST, 1.0)
    rest = ops.clip(rest, SMALLEST, 1.0)
    hit = -alpha * ops.log(probability) * _power(rest, gamma)
    miss = -(1 - alpha) * ops.log(rest) * _power(probability, gamma)
    return ops.where(label > 0, hit, miss)


def _power(value: Any, gamma: float) -> Any:
    """Return ``value ** gamma``; squares, the usual case, without a logarithm."""
    return ops.square(value) if gamma == 2 else ops.power(value, gamma)
