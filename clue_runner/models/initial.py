"""Initial values of weights, the same on every backend: a function of seed and name alone.

In: seed, stable name, shape. Out: float32 numpy arrays.
Knows nothing about backends. Truncated normal as in BERT: standard deviation 0.02, cut at two of them.
Glorot and uniform as Keras has them for dense layers, convolutions and embeddings.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np
from numpy.typing import NDArray

STANDARD_DEVIATION = 0.02
UNIFORM_LIMIT = 0.05
# (stable name, shape, type) -> a weight's first value; None: it has none
Source = Callable[[str, tuple[int, ...], str], NDArray[Any] | None]
_SOURCE: ContextVar[Source | None] = ContextVar("source", default=None)


@contextmanager
def first_values(source: Source) -> Iterator[None]:
    """Initialise weights with given values, those without one with zeros; nothing is drawn.

    Billions of draws take time, and a value that replaces another is in memory together with it.
    """
    token = _SOURCE.set(source)
    try:
        yield
    finally:
        _SOURCE.reset(token)


def given_value(name: str, shape: tuple[int, ...], kind: str) -> NDArray[Any] | None:
    """Return the given initial value of a weight; None: it is drawn. See ``first_values``."""
    source = _SOURCE.get()
    if source is None:
        return None
    found = source(name, shape, kind)
    return np.zeros(shape, kind) if found is None else found


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
