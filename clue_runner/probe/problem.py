"""The convex problem: softmax regression on rows of norm 1, and the order in which they are met.

In: a sparse table of features, labels. Out: a problem with its G and its mini-batches.
Knows nothing about texts, schedules or backends.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

WIDTH: Final = 4_096  # columns of the folded table: a mini-batch is dense, so that both backends take it
GRADIENT: Final = math.sqrt(2)  # |x| |softmax - one-hot| <= sqrt 2 for rows of norm 1, and so for their means


@dataclass(frozen=True)
class Problem:
    """What is learned.

    Args:
        rows: (records, width) sparse table, float32, rows of norm 1; the last column is the constant.
        labels: (records,) place of each record's label.
        classes: how many labels there are.
        radius: of the ball in which the weights stay, by the norm of the whole matrix; its centre is 0.
        batches: (steps, batch size) places of the records of each step.
    """

    rows: Any
    labels: NDArray[np.int64]
    classes: int
    radius: float
    batches: NDArray[np.int64]

    @property
    def diameter(self) -> float:
        """Return D, the greatest distance of two points of the ball."""
        return 2 * self.radius


def fold(features: Any, width: int = WIDTH, seed: int = 0) -> Any:
    """Return a table of ``width`` columns, rows of norm 1: columns are hashed together with random signs.

    Args:
        features: (records, any) sparse table.
        width: columns of the result, the constant among them.
        seed: of places and signs.
    """
    from scipy import sparse
    from sklearn.preprocessing import normalize

    generator, columns = np.random.default_rng(seed), features.shape[1]
    place = generator.integers(width - 1, size=columns)
    sign = generator.choice([-1.0, 1.0], size=columns)
    hashing = sparse.csr_matrix((sign, (np.arange(columns), place)), shape=(columns, width - 1))
    folded = normalize((features @ hashing).tocsr())
    constant = np.ones((folded.shape[0], 1))  # a text without a known n-gram keeps a row: the constant alone
    return normalize(sparse.hstack([folded, constant], format="csr")).astype(np.float32)


def batches(records: int, steps: int, size: int, seed: int) -> NDArray[np.int64]:
    """Return which records each step meets: all of them in a random order, then in another, and so on."""
    generator, wanted = np.random.default_rng(seed), steps * size
    rounds = [generator.permutation(records) for _ in range(math.ceil(wanted / records))]
    return np.concatenate(rounds)[:wanted].reshape(steps, size)
