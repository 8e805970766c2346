"""Precision, recall and F1 of each label, and their unweighted mean (macro F1), in percent.

In: gold and predicted label names, and the card's label list. Out: one row per label.
Knows nothing about files or tensors. scikit-learn is imported on the first call, not before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ClassScores:
    """Scores of one label in percent; ``support`` is its number of gold records."""

    label: str
    precision: float
    recall: float
    f1: float
    support: int


def class_scores(gold: Sequence[str], predicted: Sequence[str], labels: Sequence[str]) -> list[ClassScores]:
    """Return one row per label, in the order of ``labels``; a label never predicted has precision 0."""
    from sklearn.metrics import precision_recall_fscore_support

    precision, recall, f1, support = precision_recall_fscore_support(
        gold, predicted, labels=list(labels), average=None, zero_division=0
    )
    return [
        ClassScores(label, 100 * float(p), 100 * float(r), 100 * float(f), int(n))
        for label, p, r, f, n in zip(labels, precision, recall, f1, support, strict=True)
    ]


def macro_f1(rows: Sequence[ClassScores]) -> float:
    """Return the mean F1 over the labels that occur in the gold records, in percent."""
    present = [row.f1 for row in rows if row.support]
    return sum(present) / len(present)
