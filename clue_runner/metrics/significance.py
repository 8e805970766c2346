"""What several seeds say together, and whether one model is better than another on the same records.

In: scores of seeds; or what a score adds up from, a row per record, once for each of two models.
Out: mean, deviation, intervals, the p value of a difference. Fixed seed, so that the same runs always get
the same numbers. Knows nothing about tasks, models or files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

import numpy as np

from clue_runner.metrics.confidence import CELLS_AT_ONCE, SEED, FloatArray, Summed, draw_counts, mean_interval

PAIRED_RESAMPLES = 10_000
FEW = 10  # a binomial draw costs as much as about this many draws of an index


@dataclass(frozen=True)
class SeedSummary:
    """Scores of several seeds in their own unit.

    Args:
        mean: the plain mean.
        std: the sample standard deviation (n - 1); None for one seed, which shows no spread.
        interval: 95 % bootstrap interval of the mean over seeds; None for one seed. With two or three seeds
            it cannot be wider than the scores are.
        count: seeds.
    """

    mean: float
    std: float | None
    interval: tuple[float, float] | None
    count: int


def summarise_seeds(scores: Sequence[float]) -> SeedSummary:
    """Return mean, sample standard deviation and interval of at least one score."""
    several = len(scores) > 1
    return SeedSummary(
        mean=fmean(scores),
        std=stdev(scores) if several else None,
        interval=mean_interval(scores) if several else None,
        count=len(scores),
    )


@dataclass(frozen=True)
class Paired:
    """How much the second model's score is above the first one's, on the same records.

    Args:
        difference: second minus first.
        interval: 95 % bootstrap interval of the difference.
        p: two-sided: how often resampling the records gives a difference of the other sign, twice.
        records: resampled records.
    """

    difference: float
    interval: tuple[float, float]
    p: float
    records: int


def paired_bootstrap(
    first: Summed, second: Summed, *, resamples: int = PAIRED_RESAMPLES, seed: int = SEED
) -> Paired:
    """Return the difference of two models on the same records, which are drawn for both at once.

    p is 2 min(P(d <= 0), P(d >= 0)) over resampled differences d, at most 1, each share with one more draw on
    its side, so that it is never 0. Models with equal answers have difference 0 and p 1.

    Args:
        first: of one model, a row per record.
        second: of the other, the same records in the same order.
        resamples: how many times the records are drawn again, with replacement.
        seed: of the draws.

    Raises:
        ValueError: other shapes, or no record (a caller's bug).

    Source: Efron and Tibshirani, An Introduction to the Bootstrap, percentile method; Berg-Kirkpatrick,
    Burkett and Klein (2012) for paired draws in language tasks.
    """
    if first.counts.shape != second.counts.shape or len(first.counts) == 0:
        raise ValueError("two models are compared on the same records, at least one")
    examples = len(first.counts)
    both = np.concatenate([first.counts.reshape(examples, -1), second.counts.reshape(examples, -1)], axis=1)
    shape = first.counts.shape[1:]

    def differences(sums: FloatArray) -> FloatArray:
        """Return (n,) differences of (n, 2 x counts) sums."""
        half = sums.shape[1] // 2
        scores = [
            one.score(part.reshape(-1, *shape))
            for one, part in ((first, sums[:, :half]), (second, sums[:, half:]))
        ]
        return scores[1] - scores[0]

    drawn = _resampled_sums(both, resamples, seed)
    found = differences(drawn)
    low, high = np.quantile(found, [0.025, 0.975])
    side = min(int((found <= 0).sum()), int((found >= 0).sum()))
    return Paired(
        difference=float(differences(both.sum(axis=0, keepdims=True))[0]),
        interval=(float(low), float(high)),
        p=min(1.0, 2 * (side + 1) / (resamples + 1)),
        records=examples,
    )


def _resampled_sums(table: FloatArray, resamples: int, seed: int) -> FloatArray:
    """Return (resamples, columns) sums of rows drawn with replacement.

    Where few rows differ they are drawn by kind: how often each comes up is multinomial. Accuracy has four
    kinds of rows, so that thousands of records cost nothing.
    """
    examples = len(table)
    kinds, times = np.unique(table, axis=0, return_counts=True)
    few = FEW * len(kinds) <= examples
    generator = np.random.default_rng(seed)
    block = max(1, CELLS_AT_ONCE // (len(kinds) if few else examples))
    sums = []
    for start in range(0, resamples, block):
        size = min(block, resamples - start)
        if few:
            drawn = generator.multinomial(examples, times / examples, size=size)
            sums.append(drawn.astype(np.float64) @ kinds)
        else:
            sums.append(draw_counts(generator, examples, size) @ table)
    return np.concatenate(sums)
