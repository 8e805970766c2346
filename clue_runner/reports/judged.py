"""Correct and wrong answers, and what they have in common: mistakes, confusions, lengths, calibration.

In: records as adapters show them, their lengths. Out: plain tables. Knows nothing about tasks or HTML.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from clue_runner.adapters.shown.shown import Shown, ShownSpan
from clue_runner.metrics.calibration import Calibration, calibrate

MATRIX_LIMIT = 20  # most labels for which the complete matrix is drawn
PAIRS_SHOWN = 30
GROUPS = 6  # of lengths, each with about the same number of records


@dataclass(frozen=True)
class Judged:
    """One record with its answer.

    Args:
        shown: as the adapter shows it.
        length: tokens of its longest row, or characters of its texts.
        at_limit: its row has the maximum length: it was truncated, or fits exactly.
    """

    shown: Shown
    length: int
    at_limit: bool = False

    @property
    def is_wrong(self) -> bool:
        """Return whether the metric counts the answer as wrong."""
        return self.shown.is_right is False


def judge(shown: Sequence[Shown], lengths: Sequence[int] | None, limit: int | None) -> list[Judged]:
    """Return every record with its length, in tokens if known, else in characters."""
    if lengths is None:
        return [Judged(one, sum(len(text.text) for text in one.texts)) for one in shown]
    return [
        Judged(one, length, limit is not None and length >= limit)
        for one, length in zip(shown, lengths, strict=True)
    ]


def mistakes(judged: Sequence[Judged]) -> list[Judged]:
    """Return the wrong answers, most confident first; those without a probability in file order."""
    return sorted((one for one in judged if one.is_wrong), key=lambda one: -(one.shown.probability or 0.0))


@dataclass(frozen=True)
class Confusion:
    """Which label was predicted for which.

    Args:
        labels: as people read them, in the card's order; None means no label at all (a missed entity).
        counts: (gold, predicted) -> how often.
        unit: ``records`` or ``spans``.
    """

    labels: tuple[str, ...]
    counts: Mapping[tuple[str | None, str | None], int]
    unit: str

    @property
    def fits(self) -> bool:
        """Return whether the complete matrix can be drawn."""
        return len(self.labels) <= MATRIX_LIMIT

    @property
    def pairs(self) -> list[tuple[str | None, str | None, int, float]]:
        """Return the most frequent confusions: gold, predicted, count, fraction of the gold label."""
        totals: Counter[str | None] = Counter()
        for (gold, _), count in self.counts.items():
            totals[gold] += count
        wrong = [(pair, count) for pair, count in self.counts.items() if pair[0] != pair[1]]
        wrong.sort(key=lambda item: (-item[1], str(item[0])))
        return [(gold, given, count, count / totals[gold]) for (gold, given), count in wrong[:PAIRS_SHOWN]]


def confusion(judged: Sequence[Judged], labels: Sequence[str]) -> Confusion | None:
    """Return the confusions of a task with labels; None if answers are not labels.

    Args:
        judged: records whose answers are labels, or whose texts have labelled spans.
        labels: of the card, as people read them.
    """
    known = set(labels)
    shown = [one.shown for one in judged if one.shown.gold is not None]
    if not known or not shown:
        return None
    if all(one.gold in known and one.answer in known for one in shown):
        return Confusion(tuple(labels), Counter((one.gold, one.answer) for one in shown), "records")
    counts: Counter[tuple[str | None, str | None]] = Counter()
    for record in shown:
        for text in record.texts:
            counts.update(_span_pairs([span for span in text.spans if span.label in known]))
    return Confusion(tuple(labels), counts, "spans") if counts else None


def _span_pairs(spans: Sequence[ShownSpan]) -> list[tuple[str | None, str | None]]:
    """Return gold and predicted labels of equal spans; None where the other side has no span."""
    places: dict[tuple[int, int], dict[str, list[str]]] = {}
    for span in spans:
        sides = places.setdefault((span.start, span.end), {"gold": [], "predicted": []})
        sides[span.role].append(span.label)
    pairs: list[tuple[str | None, str | None]] = []
    for sides in places.values():
        gold, predicted = sides["gold"], sides["predicted"]
        both = [label for label in gold if label in predicted]
        pairs += [(label, label) for label in both]
        lost = [label for label in gold if label not in both]
        extra = [label for label in predicted if label not in both]
        size = max(len(lost), len(extra))
        padded = ([*one, *([None] * (size - len(one)))] for one in (lost, extra))
        pairs += zip(*padded, strict=True)
    return pairs


@dataclass(frozen=True)
class LengthGroup:
    """Records of similar length: ``low`` to ``high`` inclusive, how many, how many of them are correct."""

    low: int
    high: int
    count: int
    right: int


def by_length(judged: Sequence[Judged], groups: int = GROUPS) -> list[LengthGroup]:
    """Return the records in groups of about equal size, short ones first; equal lengths stay together."""
    ordered = sorted((one for one in judged if one.shown.is_right is not None), key=lambda one: one.length)
    found: list[LengthGroup] = []
    size = max(1, math.ceil(len(ordered) / groups))
    start = 0
    while start < len(ordered):
        end = min(start + size, len(ordered))
        while end < len(ordered) and ordered[end].length == ordered[end - 1].length:
            end += 1
        part = ordered[start:end]
        right = sum(one.shown.is_right is True for one in part)
        found.append(LengthGroup(part[0].length, part[-1].length, len(part), right))
        start = end
    return found


def calibration(judged: Sequence[Judged]) -> Calibration | None:
    """Return how reliable probabilities are; None if an answer has none, or one outside 0 to 1."""
    shown = [one.shown for one in judged if one.shown.is_right is not None]
    chances = [one.probability for one in shown if one.probability is not None]
    if not shown or len(chances) != len(shown) or min(chances) < 0 or max(chances) > 1:
        return None
    return calibrate(chances, [one.is_right is True for one in shown])


def mistake_line(one: Judged, *, texts: bool, labels: frozenset[str]) -> dict[str, Any]:
    """Return a mistake for ``mistakes.jsonl``; without ``texts``, no part of the data but labels."""
    shown = one.shown
    words = {"gold": shown.gold, "answer": shown.answer}
    entry: dict[str, Any] = {"id": shown.id}
    entry |= {name: text for name, text in words.items() if texts or text in labels}
    if shown.probability is not None:
        entry["probability"] = round(shown.probability, 6)
    entry |= {"length": one.length, "at_limit": one.at_limit}
    if texts:
        entry["texts"] = [
            {
                "field": text.field,
                "text": text.text,
                "spans": [
                    {"start": span.start, "end": span.end, "label": span.label, "role": span.role}
                    for span in text.spans
                ],
            }
            for text in shown.texts
        ]
    return entry
