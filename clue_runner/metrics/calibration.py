"""How reliable the probabilities of predictions are: reliability bins and expected calibration error.

In: the probability of each answer, and whether it is right. Out: bins, the error.
Knows nothing about tasks or pages.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

BINS = 10


@dataclass(frozen=True)
class Bin:
    """Answers with a probability in (low, high]; ``confidence`` and ``accuracy`` are means from 0 to 1."""

    low: float
    high: float
    count: int
    confidence: float
    accuracy: float


@dataclass(frozen=True)
class Calibration:
    """The bins that are not empty, in order, and the expected calibration error from 0 to 1."""

    bins: tuple[Bin, ...]
    error: float


def calibrate(probabilities: Sequence[float], right: Sequence[bool], bins: int = BINS) -> Calibration:
    """Return how often answers of each probability are correct.

    The error is the mean of |accuracy - confidence| over bins of equal width, weighted by their answers
    (Guo et al., 2017). A probability of 0 belongs to the first bin.

    Args:
        probabilities: of each answer, 0 to 1, at least one.
        right: whether each is correct.
        bins: of equal width.

    Raises:
        ValueError: none, another number of answers, or no probabilities (a caller's bug).
    """
    chances, hits = np.asarray(probabilities, np.float64), np.asarray(right, np.float64)
    if not len(chances) or chances.shape != hits.shape or chances.min() < 0 or chances.max() > 1:
        raise ValueError("calibration needs one probability from 0 to 1 for each answer")
    places = np.clip(np.ceil(chances * bins).astype(np.int64) - 1, 0, bins - 1)
    counts = np.bincount(places, minlength=bins)
    confidence = np.bincount(places, chances, minlength=bins) / np.maximum(counts, 1)
    accuracy = np.bincount(places, hits, minlength=bins) / np.maximum(counts, 1)
    error = float((counts * np.abs(accuracy - confidence)).sum() / len(chances))
    found = tuple(
        Bin(place / bins, (place + 1) / bins, int(counts[place]), *map(float, values))
        for place, values in enumerate(zip(confidence, accuracy, strict=True))
        if counts[place]
    )
    return Calibration(found, error)
