"""Accuracy, the majority-class baseline, and the confidence interval, all in percent.

In: two equally long sequences of labels. Out: floats. Knows nothing about files, ids or tensors.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Sequence

NORMAL_95 = 1.959963984540054  # the 97.5% point of the normal distribution


def count_correct(gold: Sequence[Hashable], predicted: Sequence[Hashable]) -> int:
    """Return how many positions agree; lengths must be equal.

    Raises:
        ValueError: the lengths differ (a caller's bug: predictions are aligned before they are scored).
    """
    return sum(label == answer for label, answer in zip(gold, predicted, strict=True))


def accuracy(gold: Sequence[Hashable], predicted: Sequence[Hashable]) -> float:
    """Return the percentage of equal labels; at least one example is needed."""
    return 100.0 * count_correct(gold, predicted) / len(gold)


def majority_share(gold: Sequence[Hashable]) -> float:
    """Return the percentage of the most frequent label: the score of always predicting it."""
    return 100.0 * Counter(gold).most_common(1)[0][1] / len(gold)


def wilson_interval(correct: int, total: int) -> tuple[float, float]:
    """Return the 95% Wilson score interval of ``correct`` out of ``total``, in percent.

    For a proportion of independent right-or-wrong answers it needs no resampling, has no seed, and stays
    inside 0-100 at the ends, where the normal interval does not (Wilson 1927).
    """
    share = correct / total
    square = NORMAL_95**2
    middle = share + square / (2 * total)
    half = NORMAL_95 * math.sqrt(share * (1 - share) / total + square / (4 * total**2))
    low, high = (middle - half) / (1 + square / total), (middle + half) / (1 + square / total)
    return 100.0 * max(0.0, low), 100.0 * min(1.0, high)
