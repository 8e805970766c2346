"""Random numbers that are a pure function of (seed, epoch, row, place): no state, no order of drawing.

In: whole numbers. Out: lots in [0, 1). A row draws the same whatever it is batched with, so that a run that
goes on draws what an unbroken one would have. The mixing function is the finaliser of SplitMix64 (Steele, Lea
and Flood 2014, "Fast splittable pseudorandom number generators").
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint64]
_STEP = np.uint64(0x9E3779B97F4A7C15)
_FACTORS = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))


def mixed(values: Words) -> Words:
    """Return the finaliser of SplitMix64 on each value; a bijection of 64-bit numbers."""
    values = (values ^ (values >> np.uint64(30))) * _FACTORS[0]
    values = (values ^ (values >> np.uint64(27))) * _FACTORS[1]
    return values ^ (values >> np.uint64(31))


def lots(seed: int, epoch: int, rows: NDArray[np.int64], stream: int, places: int) -> NDArray[np.float64]:
    """Return (rows, places) numbers in [0, 1).

    Args:
        seed: of the run.
        epoch: from 0; any other whole number is a stream of its own.
        rows: (rows,) the rows' numbers in their split.
        stream: what the lots are for.
        places: lots a row.
    """
    key = np.uint64(0)
    with np.errstate(over="ignore"):
        for number in (seed, epoch, stream):
            key = mixed(np.array([key + _STEP + np.uint64(number % (1 << 64))], np.uint64))[0]
        of_row = mixed(key + _STEP * (rows.astype(np.uint64) + np.uint64(1)))
        words = mixed(of_row[:, None] + _STEP * np.arange(1, places + 1, dtype=np.uint64)[None, :])
    return (words >> np.uint64(11)).astype(np.float64) * 2.0**-53
