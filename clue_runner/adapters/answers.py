"""The results of adapters: predictions and scores.

In: nothing. Out: frozen dataclasses without tensors. Knows nothing about tasks, files or pages.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clue_runner.metrics.confidence import Summed


@dataclass(frozen=True)
class Prediction:
    """The answer to one record.

    Args:
        id: the record's.
        prediction: the answer, in the form for the task's submission and scores.
        probability: the answer's probability, if there is one.
        probabilities: those of all labels or choices, which an ensemble averages.
        alternatives: the best answers with their probabilities, best first, if the task lists them.
        evidence: the answer's places, best first: passage number, first character, end (exclusive),
            score.
        left_out: number of this record's answers left out by a limit.
    """

    id: int | str
    prediction: Any
    probability: float | None = None
    probabilities: NDArray[np.float32] | None = None
    alternatives: tuple[tuple[str, float], ...] = ()
    evidence: tuple[tuple[int, int, int, float], ...] = ()
    left_out: int = 0


Predictions = Sequence[Prediction]
Partials = Mapping[int, Any]  # row number -> what was decoded of it; a negative number is a padding row


@dataclass(frozen=True)
class Scores:
    """Named scores in percent.

    Args:
        main: the name of the card's metric.
        values: name -> score.
        chance: the baseline's ``main`` score, such as that of the majority class.
        confidence_interval: the 95 % interval of ``main``.
        examples: scored records.
        summed: ``main`` as a score of sums over records, for comparisons; None if it is not one.
    """

    main: str
    values: Mapping[str, float]
    chance: float
    confidence_interval: tuple[float, float]
    examples: int
    summed: Summed | None = None

    @property
    def score(self) -> float:
        """Return the main score."""
        return self.values[self.main]
