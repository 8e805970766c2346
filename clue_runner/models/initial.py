"""First values of weights, the same on every backend: a function of seed and name alone.

In: seed, stable name, shape. Out: float32 numpy arrays.
Knows nothing about backends. Truncated normal as in BERT: standard deviation 0.02, cut at two of them.
"""

from __future__ import annotations

import zlib

import numpy as np
from numpy.typing import NDArray

STANDARD_DEVIATION = 0.02


def truncated_normal(seed: int, name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Return draws within two standard deviations; those outside are drawn again."""
    generator = np.random.Generator(np.random.PCG64(np.random.SeedSequence((seed, zlib.crc32(name.encode())))))
    values = generator.standard_normal(shape, dtype=np.float32).reshape(-1)
    outside = np.flatnonzero(np.abs(values) > 2)
    while outside.size:
        values[outside] = generator.standard_normal(outside.size, dtype=np.float32)
        outside = outside[np.abs(values[outside]) > 2]
    return (values * np.float32(STANDARD_DEVIATION)).reshape(shape)
