"""Accuracy of choices: one answer per question (C3), several blanks per record (ChID).

In: chosen indices, right indices, how many choices there were. Out: accuracy in percent, the chance score,
a confidence interval over examples. Knows nothing about texts or models.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from clue_runner.metrics.confidence import FloatArray, Summed, summed_mean


@dataclass(frozen=True)
class ChoiceScores:
    """Scores in percent.

    Args:
        accuracy: percentage of correct answers; an unanswered question counts as wrong.
        chance: the expected accuracy of a random choice: the mean of 1 / choices.
        total: questions or blanks counted.
        unanswered: positions (C3) or tags (ChID) without a prediction.
        summed: the accuracy as a function of sums over questions (C3) or records (ChID).
    """

    accuracy: float
    chance: float
    total: int
    unanswered: tuple[int | str, ...]
    summed: Summed

    @property
    def interval(self) -> tuple[float, float]:
        """Return the 95% interval of the accuracy."""
        return self.summed.interval


def score_choices(
    predictions: Sequence[int | None], answers: Sequence[int], choice_counts: Sequence[int]
) -> ChoiceScores:
    """Return the accuracy of one choice per question.

    Args:
        predictions: chosen index of each question, None where there is no answer.
        answers: right index of each question.
        choice_counts: how many choices each question had.
    """
    right = np.array(
        [chosen == answer for chosen, answer in zip(predictions, answers, strict=True)], dtype=np.float64
    )
    return ChoiceScores(
        accuracy=100 * float(right.mean()) if len(right) else 0.0,
        chance=chance_score(choice_counts),
        total=len(right),
        unanswered=tuple(place for place, chosen in enumerate(predictions) if chosen is None),
        summed=summed_mean(100 * right),
    )


def score_blanks(
    predictions: Sequence[Mapping[str, int]],
    answers: Sequence[Mapping[str, int]],
    candidate_counts: Sequence[int],
) -> ChoiceScores:
    """Return the accuracy over all blanks; a tag without a prediction counts as wrong and is listed.

    The published ChID scorer stops at a missing tag; counting it wrong gives the same number wherever
    that scorer gives one. The interval resamples whole records, because blanks of a record share candidates.

    Args:
        predictions: tag -> chosen index, one mapping per record; tags without an answer are ignored.
        answers: tag -> right index, one mapping per record.
        candidate_counts: how many candidates each record had.
    """
    counts = np.zeros((len(answers), 2))
    missing: list[int | str] = []
    for place, (chosen, right) in enumerate(zip(predictions, answers, strict=True)):
        missing += [tag for tag in right if tag not in chosen]
        counts[place] = sum(chosen.get(tag) == index for tag, index in right.items()), len(right)
    blanks = [count for count, right in zip(candidate_counts, answers, strict=True) for _ in right]
    return ChoiceScores(
        accuracy=float(_share(counts.sum(axis=0, keepdims=True))[0]),
        chance=chance_score(blanks),
        total=len(blanks),
        unanswered=tuple(missing),
        summed=Summed(counts, _share),
    )


def chance_score(choice_counts: Sequence[int]) -> float:
    """Return the expected accuracy of choosing at random, in percent: the mean of 1 / choices."""
    if not choice_counts:
        return 0.0
    return 100 * float(np.mean(1.0 / np.asarray(choice_counts, dtype=np.float64)))


def _share(sums: FloatArray) -> FloatArray:
    """Return the (n,) percentages of correct answers, given (n, 2) sums of (correct, all)."""
    return np.asarray(100 * sums[:, 0] / np.maximum(sums[:, 1], 1), dtype=np.float64)
