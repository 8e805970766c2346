"""Which candidate goes into which blank, given a score for each pair.

In: log probabilities (blanks, candidates) of one record. Out: a candidate for every blank.
Knows nothing about idioms, models or files. SciPy is imported when an assignment is solved.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

Decoding = Literal["assignment", "greedy", "independent"]
DECODINGS: tuple[Decoding, ...] = ("assignment", "greedy", "independent")

Scores = NDArray[np.float64]


def choose_candidates(scores: Scores, decoding: Decoding) -> list[int]:
    """Return a candidate for each blank.

    ``assignment`` and ``greedy`` use a candidate twice only if there are more blanks than candidates:
    the blanks left without one then choose among all candidates in another round.

    Args:
        scores: (blanks, candidates), higher is better, finite.
        decoding: ``assignment``: the greatest sum; ``greedy``: the best pair first, then the best of what
            is left; ``independent``: each blank its best, whatever the others choose.

    Examples:
        >>> choose_candidates(np.array([[5.0, 4, 0], [6, 1, 0]]), "assignment")
        [1, 0]
        >>> choose_candidates(np.array([[5.0, 4, 0], [6, 1, 0]]), "independent")
        [0, 0]
    """
    if decoding == "independent":
        return [int(best) for best in scores.argmax(axis=1)]
    solve = _best_sum if decoding == "assignment" else _best_first
    chosen = np.full(len(scores), -1, np.int64)
    while (chosen < 0).any():
        open_blanks = np.flatnonzero(chosen < 0)
        blanks, candidates = solve(scores[open_blanks])
        chosen[open_blanks[blanks]] = candidates
    return [int(candidate) for candidate in chosen]


def _best_sum(scores: Scores) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the pairs with the greatest sum of scores."""
    from scipy.optimize import linear_sum_assignment

    blanks, candidates = linear_sum_assignment(scores, maximize=True)
    return np.asarray(blanks, np.int64), np.asarray(candidates, np.int64)


def _best_first(scores: Scores) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the pairs found by repeatedly taking the best score; ties go to the first blank."""
    left = scores.astype(np.float64, copy=True)
    pairs = []
    for _ in range(min(left.shape)):
        blank, candidate = np.unravel_index(int(left.argmax()), left.shape)
        pairs.append((int(blank), int(candidate)))
        left[blank, :] = -np.inf
        left[:, candidate] = -np.inf
    table = np.array(pairs, np.int64)
    return table[:, 0], table[:, 1]
