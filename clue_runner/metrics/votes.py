"""Turns tag probabilities into answers: candidates from one passage, and a vote over all passages.

In: probabilities of beginning and ending at each character. Out: candidates, votes, one answer with evidence.
Knows nothing about networks or files. Rules: kexue.fm/archives/6906.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from clue_runner.errors import NotFiniteError

Vote = Literal["squares", "sum", "max"]
Spans = tuple[tuple[int, int, float], ...]  # begin, end (exclusive), score


@dataclass(frozen=True)
class Evidence:
    """The place of an answer: ``passage`` counts from 0, characters ``start:end``, and the span's score."""

    passage: int
    start: int
    end: int
    score: float


@dataclass(frozen=True)
class Voted:
    """An answer, its vote, and where it was found, best place first."""

    text: str
    vote: float
    evidence: tuple[Evidence, ...]


def candidate_spans(
    start: NDArray[np.floating], end: NDArray[np.floating], *, threshold: float, longest: int
) -> Spans:
    """Return every span whose first and last characters are both above the threshold; score = start * end.

    Args:
        start: (characters,) probability that an answer begins here.
        end: likewise for its last character.
        threshold: both must be above it.
        longest: maximum number of characters in a span.
    """
    lasts = np.flatnonzero(end > threshold)
    spans: list[tuple[int, int, float]] = []
    for first in np.flatnonzero(start > threshold).tolist():
        near = lasts[(lasts >= first) & (lasts < first + longest)]
        spans += [(first, last + 1, float(start[first] * end[last])) for last in near.tolist()]
    return tuple(spans)


def gated_probabilities(
    gate: NDArray[np.generic], start: NDArray[np.generic], end: NDArray[np.generic]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return (rows, length) probabilities that an answer begins and that it ends at a character.

    Args:
        gate: (rows,) logits that the passage contains an answer at all.
        start: (rows, length) logits that it begins there.
        end: (rows, length) logits that it ends there.

    Raises:
        NotFiniteError: a logit is not a number.
    """
    gate, start, end = (np.asarray(logits, np.float32) for logits in (gate, start, end))
    if not (np.isfinite(gate).all() and np.isfinite(start).all() and np.isfinite(end).all()):
        raise NotFiniteError("the network's tags are NaN", next_step="train again with a lower learning rate")
    is_open = _sigmoid(gate)[:, None]
    return is_open * _sigmoid(start), is_open * _sigmoid(end)


def _sigmoid(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return 1 / (1 + e^-x) without overflow."""
    return np.asarray(0.5 * (1 + np.tanh(0.5 * logits)), np.float32)


def vote_of(scores: Sequence[float], rule: Vote = "squares") -> float:
    """Return the vote of one answer from its best score in each passage that contains it.

    ``squares`` is sum(s^2) / (1 + sum(s)): four weak passages (0.2 each: 0.089) do not outvote one
    sure one (0.7: 0.288).
    """
    if rule == "max":
        return max(scores, default=0.0)
    total = sum(scores)
    return total if rule == "sum" else sum(score * score for score in scores) / (1 + total)


def vote(texts: Sequence[str], spans: Mapping[int, Spans], rule: Vote = "squares") -> list[Voted]:
    """Return all candidate answers of one question, highest vote first; ties go to the one found earlier.

    Args:
        texts: the passages.
        spans: passage number -> its candidate spans.
        rule: how the passages' scores become a vote.
    """
    places: dict[str, list[Evidence]] = {}
    for number in sorted(spans):
        for start, end, score in spans[number]:
            places.setdefault(texts[number][start:end], []).append(Evidence(number, start, end, score))
    answers = []
    for text, evidence in places.items():
        best: dict[int, float] = {}
        for place in evidence:
            best[place.passage] = max(best.get(place.passage, 0.0), place.score)
        order = sorted(evidence, key=lambda place: (-place.score, place.passage, place.start))
        answers.append(Voted(text, vote_of(list(best.values()), rule), tuple(order)))
    return sorted(answers, key=lambda answer: -answer.vote)
