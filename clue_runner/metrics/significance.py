"""Statistics over several seeds, and tests whether one model is better than another on the same records.

In: scores of seeds; or the summands of a score, one row per record, for each of two models.
Out: mean, deviation, intervals, the p-value of a difference. Fixed seed, so that the same runs always give
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
    """Scores of several seeds, in the unit of the score.

    Args:
        mean: the arithmetic mean.
        std: the sample standard deviation (n - 1); None for one seed, which shows no spread.
        interval: 95% bootstrap interval of the mean over seeds; None for one seed. With two or three seeds
            it cannot be wider than the range of the scores.
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
        interval: 95% bootstrap interval of the difference.
        p: two-sided: twice the fraction of resamples whose difference has the opposite sign.
        records: resampled records.
    """

    difference: float
    interval: tuple[float, float]
    p: float
    records: int


def paired_bootstrap(
    first: Summed, second: Summed, *, resamples: int = PAIRED_RESAMPLES, seed: int = SEED
) -> Paired:
    """Return the difference between two models on the same records, which are resampled jointly.

    Args:
        first: of one model, a row per record.
        second: of the other, the same records in the same order.
        resamples: how many times the records are resampled, with replacement.
        seed: of the draws.

    Raises:
        ValueError: shapes differ, or there is no record (a caller's bug).
    """
    return judge([paired_draws([first], [second], resamples=resamples, seed=seed)])


@dataclass(frozen=True)
class Draws:
    """Differences between two groups of runs on resampled records.

    Args:
        difference: of the records as they are.
        found: (resamples,) differences.
        records: how many there are.
    """

    difference: float
    found: FloatArray
    records: int


def paired_draws(
    first: Sequence[Summed],
    second: Sequence[Summed],
    *,
    resamples: int = PAIRED_RESAMPLES,
    seed: int = SEED,
) -> Draws:
    """Return the difference between the mean scores of two groups of runs, second minus first.

    All runs are scored on the same resampled records, so that more seeds do not count as more records.

    Args:
        first: runs of one model, a row per record each.
        second: of the other; the same records in the same order.
        resamples: how many times the records are resampled, with replacement.
        seed: of the draws.

    Raises:
        ValueError: shapes differ, or there is no run or no record (a caller's bug).
    """
    runs = [*first, *second]
    if not first or not second or len({run.counts.shape for run in runs}) > 1 or not len(runs[0].counts):
        raise ValueError("two models are compared on the same records, at least one")
    examples = len(runs[0].counts)
    shape = runs[0].counts.shape[1:]
    table = np.concatenate([run.counts.reshape(examples, -1) for run in runs], axis=1)

    def differences(sums: FloatArray) -> FloatArray:
        """Return (n,) differences of (n, runs x counts) sums."""
        parts = np.split(sums, len(runs), axis=1)
        scores = [run.score(part.reshape(-1, *shape)) for run, part in zip(runs, parts, strict=True)]
        means = np.mean(scores[: len(first)], axis=0), np.mean(scores[len(first) :], axis=0)
        return np.asarray(means[1] - means[0], dtype=np.float64)

    return Draws(
        difference=float(differences(table.sum(axis=0, keepdims=True))[0]),
        found=differences(_resampled_sums(table, resamples, seed)),
        records=examples,
    )


def judge(tasks: Sequence[Draws]) -> Paired:
    """Return the mean difference over tasks; their records were drawn independently of each other.

    p is 2 min(P(d <= 0), P(d >= 0)) over resampled differences d, at most 1, with one more draw counted on
    each side, so that it is never 0. Models with equal predictions have difference 0 and p 1.

    Args:
        tasks: one per task, each drawn with its own seed, as often as the others.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap, percentile method; Berg-Kirkpatrick,
    Burkett and Klein (2012) for paired draws in language tasks.
    """
    found = np.mean([one.found for one in tasks], axis=0)
    low, high = np.quantile(found, [0.025, 0.975])
    side = min(int((found <= 0).sum()), int((found >= 0).sum()))
    return Paired(
        difference=fmean(one.difference for one in tasks),
        interval=(float(low), float(high)),
        p=min(1.0, 2 * (side + 1) / (len(found) + 1)),
        records=sum(one.records for one in tasks),
    )


def _resampled_sums(table: FloatArray, resamples: int, seed: int) -> FloatArray:
    """Return (resamples, columns) sums of rows drawn with replacement.

    If few rows are distinct, they are drawn by kind: the counts are multinomial. Accuracy has four
    kinds of rows, so thousands of records cost nothing.
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
