"""Bootstrap confidence intervals: resample the examples and observe how the score varies.

In: one row of counts per example, and the score as a function of their sum.
Out: (low, high). Fixed seed, so that a score always comes with the same interval.
Knows nothing about tasks: any score that is a function of summed counts will do (accuracy, F1, a mean).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]

RESAMPLES = 1000
SEED = 42
CELLS_AT_ONCE = 4_000_000  # bounds the memory of one block of draws to 32 MB


@dataclass(frozen=True)
class Summed:
    """A score that is a function of sums over examples, as bootstrap resampling needs.

    Args:
        counts: (examples, ...) numbers that add up over examples.
        score: maps (n, ...) sums of ``counts`` to (n,) scores.
    """

    counts: FloatArray
    score: Callable[[FloatArray], FloatArray]

    @property
    def interval(self) -> tuple[float, float]:
        """Return the 95% bootstrap interval of the score."""
        return bootstrap_interval(self.counts, self.score)


def summed_mean(values: ArrayLike) -> Summed:
    """Return the mean of (examples,) values as a score of their sum."""
    table = np.asarray(values, dtype=np.float64)
    examples = max(len(table), 1)
    return Summed(table, lambda sums: np.asarray(sums / examples, dtype=np.float64))


def bootstrap_interval(
    counts: ArrayLike,
    score: Callable[[FloatArray], FloatArray],
    *,
    resamples: int = RESAMPLES,
    level: float = 0.95,
    seed: int = SEED,
) -> tuple[float, float]:
    """Return the percentile bootstrap interval of a score over examples.

    Args:
        counts: (examples, ...) numbers that add up over examples.
        score: maps (resamples, ...) sums of ``counts`` to (resamples,) scores.
        resamples: how many times the examples are resampled, with replacement.
        level: the fraction of resampled scores inside the interval.
        seed: of the draws.

    Returns:
        (low, high) in the score's own unit; (nan, nan) without examples.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap, percentile method.
    """
    table = np.asarray(counts, dtype=np.float64)
    examples = len(table)
    if examples == 0:
        return (float("nan"), float("nan"))
    flat = table.reshape(examples, -1)
    generator = np.random.default_rng(seed)
    block = max(1, CELLS_AT_ONCE // examples)
    scores = []
    for first in range(0, resamples, block):
        drawn = draw_counts(generator, examples, min(block, resamples - first))
        scores.append(score((drawn @ flat).reshape(-1, *table.shape[1:])))
    tail = (1.0 - level) / 2.0
    low, high = np.quantile(np.concatenate(scores), [tail, 1.0 - tail])
    return (float(low), float(high))


def mean_interval(
    values: ArrayLike, *, resamples: int = RESAMPLES, level: float = 0.95, seed: int = SEED
) -> tuple[float, float]:
    """Return the bootstrap interval of the mean of (examples,) values, in their unit."""
    table = np.asarray(values, dtype=np.float64)
    examples = len(table)
    return bootstrap_interval(
        table, lambda sums: sums / examples, resamples=resamples, level=level, seed=seed
    )


def draw_counts(generator: np.random.Generator, examples: int, resamples: int) -> FloatArray:
    """Return (resamples, examples): how often each example was drawn in each resample."""
    drawn = generator.integers(0, examples, size=(resamples, examples))
    drawn += np.arange(resamples)[:, None] * examples
    times = np.bincount(drawn.ravel(), minlength=resamples * examples)
    return times.reshape(resamples, examples).astype(np.float64)
