"""What adapters answer with: predictions, scores, and how a page shows a record beside its answer.

In: nothing. Out: frozen dataclasses without tensors. Knows nothing about tasks, files or HTML.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Prediction:
    """The answer to one record.

    Args:
        id: the record's.
        prediction: the answer, in the form that the task's submission and its scores want.
        probability: of the answer, where there is one.
        probabilities: of all labels or choices; what an ensemble averages.
        alternatives: the best answers with their probabilities, best first, where a task lists such.
        evidence: where the answer stands, best place first: passage number, first character, end (exclusive),
            score.
        left_out: answers of this record that a limit left out.
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
        chance: what an answer that knows nothing gets in ``main``.
        confidence_interval: 95 %, of ``main``.
        examples: scored records.
    """

    main: str
    values: Mapping[str, float]
    chance: float
    confidence_interval: tuple[float, float]
    examples: int

    @property
    def score(self) -> float:
        """Return the main score."""
        return self.values[self.main]


@dataclass(frozen=True)
class ShownSpan:
    """A marked piece of a text: ``text[start:end]``, what it is, and who says so."""

    start: int
    end: int
    label: str
    role: Literal["gold", "predicted"]


@dataclass(frozen=True)
class ShownText:
    """One text of a record under the name of its field."""

    field: str
    text: str
    spans: tuple[ShownSpan, ...] = ()


@dataclass(frozen=True)
class ShownOption:
    """Something that could have been the answer; ``is_gold`` is None where the split has no answers."""

    text: str
    probability: float | None
    is_chosen: bool
    is_gold: bool | None


@dataclass(frozen=True)
class Shown:
    """A record beside its answer, ready to be drawn by something that knows no task.

    Args:
        id: the record's.
        texts: in reading order, with what is marked in them.
        answer: the prediction in words; labels with their names beside their codes.
        gold: the right answer in words; None in a split without answers.
        is_right: whether the metric counts the answer as right; None in a split without answers.
        probability: of the answer, where there is one.
        options: choices, labels or further answers, where a task has such.
    """

    id: int | str
    texts: tuple[ShownText, ...]
    answer: str
    gold: str | None
    is_right: bool | None
    probability: float | None = None
    options: tuple[ShownOption, ...] = ()
