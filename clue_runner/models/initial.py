"""Initial values of weights, the same on every backend: a function of seed and name alone.

In: seed, stable name, shape. Out: float32 numpy arrays.
Knows nothing about backends. Truncated normal as in BERT: standard deviation 0.02, cut at two of them.
Glorot and uniform as Keras has them for dense layers, convolutions and embeddings.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import numpy as np
from numpy.typing import NDArray

STANDARD_DEVIATION = 0.02
UNIFORM_LIMIT = 0.05
_DRAWS = ContextVar("draws", default=True)


@contextmanager
def undrawn() -> Iterator[None]:
    """Let weights begin as zeros: a checkpoint will assign all of them, and billions of draws take time."""
    token = _DRAWS.set(False)
    try:
        yield
    finally:
        _DRAWS.reset(token)


def are_drawn() -> bool:
    """Return whether weights get their first values; see ``undrawn``."""
    return _DRAWS.get()


def truncated_normal(seed: int, name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Return draws within two standard deviations; those outside are drawn again."""
    generator = _generator(seed, name)
    values = generator.standard_normal(shape, dtype=np.float32).reshape(-1)
    outside = np.flatnonzero(np.abs(values) > 2)
    while outside.size:
        values[outside] = generator.standard_normal(outside.size, dtype=np.float32)
        outside = outside[np.abs(values[outside]) > 2]
    return (values * np.float32(STANDARD_DEVIATION)).reshape(shape)


def glorot_uniform(seed: int, name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Return uniform draws within the root of 6 / (inputs + outputs); kernels are (..., in, out)."""
    field = int(np.prod(shape[:-2], dtype=np.int64))
    limit = np.sqrt(6.0 / (field * (shape[-2] + shape[-1])))
    return _between(seed, name, shape, float(limit))


def uniform(seed: int, name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Return uniform draws within 0.05."""
    return _between(seed, name, shape, UNIFORM_LIMIT)


def _between(seed: int, name: str, shape: tuple[int, ...], limit: float) -> NDArray[np.float32]:
    """Return uniform draws from -limit to limit."""
    draws = _generator(seed, name).random(shape, dtype=np.float32)
    return (draws * np.float32(2 * limit) - np.float32(limit)).astype(np.float32)


def _generator(seed: int, name: str) -> np.random.Generator:
    """Return the source of one weight's draws."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence((seed, zlib.crc32(name.encode())))))
