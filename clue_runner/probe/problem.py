"""The convex problem: softmax regression on rows of norm 1, and the order in which they are visited.

In: a table of features, labels. Out: a problem with its G and its mini-batches.
Knows nothing about texts, schedules or backends.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

WIDTH: Final = 4_096  # columns of the folded table: mini-batches are dense, as both backends require
GRADIENT: Final = math.sqrt(2)  # |x| |softmax - one-hot| <= sqrt 2 for rows of norm 1, and so for their means


@dataclass(frozen=True)
class Problem:
    """The learning problem.

    Args:
        rows: (records, width) float32, sparse or not, rows of norm 1; the last column is the constant.
        labels: (records,) index of each record's label.
        classes: how many labels there are.
        radius: of the ball that contains the weights, in the norm of the whole matrix; its centre is 0.
        batches: (steps, batch size) indices of the records of each step.
    """

    rows: Any
    labels: NDArray[np.int64]
    classes: int
    radius: float
    batches: NDArray[np.int64]

    @property
    def diameter(self) -> float:
        """Return D, the greatest distance between two points of the ball."""
        return 2 * self.radius


def fold(features: Any, width: int = WIDTH, seed: int = 0) -> Any:
    """Return a table of ``width`` columns, rows of norm 1: columns are hashed together with random signs.

    Args:
        features: (records, any) sparse table.
        width: columns of the result, including the constant.
        seed: of columns and signs.
    """
    from scipy import sparse
    from sklearn.preprocessing import normalize

    generator, columns = np.random.default_rng(seed), features.shape[1]
    place = generator.integers(width - 1, size=columns)
    sign = generator.choice([-1.0, 1.0], size=columns)
    hashing = sparse.csr_matrix((sign, (np.arange(columns), place)), shape=(columns, width - 1))
    folded = normalize((features @ hashing).tocsr())
    constant = np.ones((folded.shape[0], 1))  # the row of a text without a known n-gram is the constant alone
    return normalize(sparse.hstack([folded, constant], format="csr")).astype(np.float32)


def centred(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return dense features as rows of norm 1 with a constant: without their mean, which all texts share.

    Args:
        vectors: (records, width).
    """
    rows = vectors.astype(np.float64) - vectors.mean(axis=0, dtype=np.float64)
    rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-30)
    rows = np.hstack([rows, np.ones((len(rows), 1))])  # the row of a text like the mean is the constant alone
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows, np.float32)


def batches(records: int, steps: int, size: int, seed: int) -> NDArray[np.int64]:
    """Return the records of each step: all of them in a random order, then in another one, and so on."""
    generator, wanted = np.random.default_rng(seed), steps * size
    rounds = [generator.permutation(records) for _ in range(math.ceil(wanted / records))]
    return np.concatenate(rounds)[:wanted].reshape(steps, size)
