"""CLUENER scored three ways, each under its own name, because sources mean different things by "F1".

``site_macro_f1``    what the published score.py computes: in each record and type the set of surface strings
                     is compared, offsets are never read; F1 per type, unweighted mean over types.
``strict_macro_f1``  the same mean, but an entity is (type, start, end).
``strict_micro_f1``  (type, start, end), all types together; the published PyTorch baselines report it.

In: predicted and gold entities, one collection per record. Out: three scores in percent, also per type,
confidence intervals over records. Knows nothing about texts, tokens or models.

Division by zero: the published script fails if a type has no prediction, no gold entity or no hit.
Here F1 is 2 tp / (2 tp + fp + fn), so a type that is in gold but never predicted scores 0, and so does one
that is predicted but not in gold. A type in neither is left out of the mean: it has no score. Wherever the
published script gives a number, this gives the same one.
Repeated mentions count once, as in the script.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from clue_runner.data.records import Entity
from clue_runner.metrics.confidence import FloatArray, Summed

TRUE_POSITIVE, PREDICTED, GOLD = range(3)


@dataclass(frozen=True)
class TypeScores:
    """One type's scores in percent; None where the type is neither in gold nor predicted."""

    site_f1: float | None
    strict_f1: float | None
    gold: int
    predicted: int


@dataclass(frozen=True)
class EntityScores:
    """Scores in percent; ``summed`` has each named score as a function of sums over records.

    ``precision`` and ``recall`` are strict and micro.
    """

    site_macro_f1: float
    strict_macro_f1: float
    strict_micro_f1: float
    precision: float
    recall: float
    by_type: Mapping[str, TypeScores]
    summed: Mapping[str, Summed]

    @property
    def intervals(self) -> Mapping[str, tuple[float, float]]:
        """Return the 95% bootstrap interval over records of each named score."""
        return {name: one.interval for name, one in self.summed.items()}


def score_entities(
    predictions: Sequence[Collection[Entity]], gold: Sequence[Collection[Entity]], types: Sequence[str]
) -> EntityScores:
    """Return the three F1 scores of predicted entities.

    Args:
        predictions: the entities predicted for each record.
        gold: the entities annotated in each record.
        types: all types in the card's order; an entity of another type raises ``KeyError``.
    """
    spans = _count(predictions, gold, types, lambda entity: (entity.start, entity.end))
    surfaces = _count(predictions, gold, types, lambda entity: entity.surface)
    span_sums, surface_sums = spans.sum(axis=0), surfaces.sum(axis=0)
    tp, predicted, annotated = span_sums.sum(axis=0)
    return EntityScores(
        site_macro_f1=float(_macro(surface_sums[None])[0]),
        strict_macro_f1=float(_macro(span_sums[None])[0]),
        strict_micro_f1=float(_micro(span_sums[None])[0]),
        precision=100 * float(tp / max(predicted, 1)),
        recall=100 * float(tp / max(annotated, 1)),
        by_type={
            name: TypeScores(
                site_f1=_one_type(surface_sums[index]),
                strict_f1=_one_type(span_sums[index]),
                gold=int(span_sums[index, GOLD]),
                predicted=int(span_sums[index, PREDICTED]),
            )
            for index, name in enumerate(types)
        },
        summed={
            "site_macro_f1": Summed(surfaces, _macro),
            "strict_macro_f1": Summed(spans, _macro),
            "strict_micro_f1": Summed(spans, _micro),
        },
    )


def _count(
    predictions: Sequence[Collection[Entity]],
    gold: Sequence[Collection[Entity]],
    types: Sequence[str],
    identity: Callable[[Entity], object],
) -> FloatArray:
    """Return (records, types, 3): true positives, predicted and gold entities, each distinct one once."""
    index = {name: place for place, name in enumerate(types)}
    counts = np.zeros((len(gold), len(types), 3))
    for place, (guessed, annotated) in enumerate(zip(predictions, gold, strict=True)):
        predicted = {(entity.type, identity(entity)) for entity in guessed}
        wanted = {(entity.type, identity(entity)) for entity in annotated}
        for column, entities in ((TRUE_POSITIVE, predicted & wanted), (PREDICTED, predicted), (GOLD, wanted)):
            for name, _ in entities:
                counts[place, index[name], column] += 1
    return counts


def _f1(sums: FloatArray) -> FloatArray:
    """Return F1 in percent of (..., 3) sums, NaN where there is neither gold nor prediction."""
    both = sums[..., PREDICTED] + sums[..., GOLD]
    with np.errstate(invalid="ignore"):
        return np.asarray(200 * sums[..., TRUE_POSITIVE] / both, dtype=np.float64)


def _macro(sums: FloatArray) -> FloatArray:
    """Return (n,) mean F1 over types of (n, types, 3) sums; types without a score are left out."""
    scores = _f1(sums)
    scored = ~np.isnan(scores)
    total = np.where(scored, scores, 0.0).sum(axis=1)
    return np.asarray(total / np.maximum(scored.sum(axis=1), 1), dtype=np.float64)


def _micro(sums: FloatArray) -> FloatArray:
    """Return (n,) F1 over all types together of (n, types, 3) sums, 0 where there is nothing."""
    return np.nan_to_num(_f1(sums.sum(axis=1)))


def _one_type(sums: FloatArray) -> float | None:
    """Return the F1 of (3,) sums, None where it is undefined."""
    score = float(_f1(sums))
    return None if np.isnan(score) else score
