"""From tag probabilities to answers: candidates of one passage, and the vote over all passages.

In: probabilities of beginning and ending at each character. Out: candidates, votes, one answer with evidence.
Knows nothing about networks or files. Rules: kexue.fm/archives/6906.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Vote = Literal["squares", "sum", "max"]
Spans = tuple[tuple[int, int, float], ...]  # begin, end (exclusive), score


@dataclass(frozen=True)
class Evidence:
    """Where an answer stands: ``passage`` counts from 0, characters ``start:end``, and the span's score."""

    passage: int
    start: int
    end: int
    score: float


@dataclass(frozen=True)
class Voted:
    """An answer, its vote, and where it stands, best place first."""

    text: str
    vote: float
    evidence: tuple[Evidence, ...]


def candidate_spans(
    start: NDArray[np.floating], end: NDArray[np.floating], *, threshold: float, longest: int
) -> Spans:
    """Return every span whose first and last character are both probable enough; score = start * end.

    Args:
        start: (characters,) probability that an answer begins here.
        end: likewise for its last character.
        threshold: both must be above it.
        longest: characters in a span at most.
    """
    lasts = np.flatnonzero(end > threshold)
    spans: list[tuple[int, int, float]] = []
    for first in np.flatnonzero(start > threshold).tolist():
        near = lasts[(lasts >= first) & (lasts < first + longest)]
        spans += [(first, last + 1, float(start[first] * end[last])) for last in near.tolist()]
    return tuple(spans)


def vote_of(scores: Sequence[float], rule: Vote = "squares") -> float:
    """Return the vote of one answer from its best score in each passage that holds it.

    ``squares`` is sum(s^2) / (1 + sum(s)): four weak passages (0.2 each: 0.089) do not outvote one
    sure one (0.7: 0.288).
    """
    if rule == "max":
        return max(scores, default=0.0)
    total = sum(scores)
    return total if rule == "sum" else sum(score * score for score in scores) / (1 + total)


def vote(texts: Sequence[str], spans: Mapping[int, Spans], rule: Vote = "squares") -> list[Voted]:
    """Return all candidate answers of one question, highest vote first; of equals the earlier found.

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
