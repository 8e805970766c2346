"""A linear-chain conditional random field: the probability of a sequence of tags.

In: a score for each token and tag, transition scores, sequences of tags. Out: log-likelihoods.
Knows nothing about tags' meaning. The best sequence is found in ``tokens/layouts/tags.py``, without tensors.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import ops


def log_likelihood(emissions: Any, tags: Any, counts: Any, transitions: Any, start: Any, end: Any) -> Any:
    """Return (rows,) float32: the logarithm of the probability of ``tags`` among all sequences.

    Args:
        emissions: (rows, length, kinds) float32.
        tags: (rows, length) int32.
        counts: (rows,) int32, tokens in each row; a row without any has likelihood 1.
        transitions: (kinds, kinds) float32, from the row's tag to the column's.
        start: (kinds,) float32, added for the first tag.
        end: (kinds,) float32, added for the last tag.
    """
    has_tokens = counts > 0
    score = path_score(emissions, tags, counts, transitions, start, end)
    likelihood = score - log_partition(emissions, counts, transitions, start, end)
    return ops.where(has_tokens, likelihood, np.float32(0))


def path_score(emissions: Any, tags: Any, counts: Any, transitions: Any, start: Any, end: Any) -> Any:
    """Return (rows,) float32: the sum of all scores along ``tags``."""
    kinds = emissions.shape[-1]
    length = ops.shape(tags)[1]
    mask = ops.cast(ops.arange(length)[None, :] < counts[:, None], "float32")
    chosen = ops.one_hot(tags, kinds, dtype="float32")
    emitted = ops.sum(ops.sum(chosen * emissions, axis=-1) * mask, axis=1)
    # products with 0/1 rows: their gradients are products too, not scatters
    transition_scores = ops.sum(ops.matmul(chosen[:, :-1], transitions) * chosen[:, 1:], axis=-1)
    is_last = ops.cast(ops.arange(length)[None, :] == counts[:, None] - 1, "float32")
    last = ops.sum(chosen * is_last[:, :, None], axis=1)
    return (
        emitted
        + ops.sum(transition_scores * mask[:, 1:], axis=1)
        + ops.sum(chosen[:, 0] * start, axis=-1)
        + ops.sum(last * end, axis=-1)
    )


def log_partition(emissions: Any, counts: Any, transitions: Any, start: Any, end: Any) -> Any:
    """Return (rows,) float32: the logarithm of the sum over all sequences of e to the path's score."""
    later = ops.swapaxes(emissions, 0, 1)[1:]
    # one step more than needed, masked in every row: a loop of no steps has no shape on TensorFlow
    later = ops.pad(later, ((0, 1), (0, 0), (0, 0)))
    steps = ops.arange(1, ops.shape(emissions)[1] + 1)
    mask = ops.cast(steps[:, None] < counts[None, :], "float32")
    highest = ops.stop_gradient(ops.max(transitions))
    powers = ops.exp(transitions - highest)

    def advance(forward: Any, step: Any) -> tuple[Any, Any]:
        emission, inside = step[:, :-1], step[:, -1:] > 0
        # e^(a + t) = e^(a - max) e^t: a product of matrices instead of a sum over a cube
        highest_forward = ops.stop_gradient(ops.max(forward, axis=-1, keepdims=True))
        summed = ops.matmul(ops.exp(forward - highest_forward), powers)
        advanced = ops.log(summed) + highest_forward + highest + emission
        forward = ops.where(inside, advanced, forward)
        return forward, forward

    # one array to scan: Keras's scan takes no second one where the length is not known beforehand
    inputs = ops.concatenate([later, mask[:, :, None]], axis=-1)
    forward, _ = ops.scan(advance, emissions[:, 0] + start, inputs)
    return ops.logsumexp(forward + end, axis=-1)
