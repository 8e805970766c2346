"""Statistics of a task's data: lengths in characters, label balance, the majority-class baseline.

In: records. Out: plain numbers. Knows nothing about files or tokens.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import ceil
from typing import Any

from clue_runner.data.contents import labels_of, texts_of
from clue_runner.data.records import Records


@dataclass(frozen=True)
class Lengths:
    """Characters per record, all its texts together, template applied."""

    median: int
    percentile_95: int
    longest: int

    def as_tuple(self) -> tuple[int, int, int]:
        """Return median, 95th percentile, longest."""
        return self.median, self.percentile_95, self.longest


@dataclass(frozen=True)
class SplitStatistics:
    """The statistics of one split.

    Attributes:
        records: all in the file.
        usable: those that remain after others were left out.
        skipped: why records were left out -> their number.
        lengths: characters per record.
        labels: label -> usable records, or entities of the type; most frequent first, empty without labels.
        majority_label: the most frequent label; None without labels.
        chance: percent of records with the majority label (majority-class baseline); None without labels.
    """

    records: int
    usable: int
    skipped: Mapping[str, int]
    lengths: Lengths
    labels: Mapping[str, int]
    majority_label: str | None
    chance: float | None

    def as_dict(self) -> dict[str, object]:
        """Return the statistics as JSON-ready data."""
        return asdict(self)


def split_statistics(records: Records[Any]) -> SplitStatistics:
    """Return the statistics of one split."""
    lengths = sorted(sum(map(len, texts_of(record))) for record in records.items)
    given = [labels_of(record) for record in records.items]
    ordered = dict(Counter(label for labels in given for label in labels).most_common())
    # several labels in one record are not classes, so there is no baseline
    majority = next(iter(ordered), None) if all(len(labels) < 2 for labels in given) else None
    return SplitStatistics(
        records=records.total,
        usable=len(records),
        skipped=dict(records.skipped),
        lengths=Lengths(percentile(lengths, 50), percentile(lengths, 95), lengths[-1]),
        labels=ordered,
        majority_label=majority,
        chance=None if majority is None else 100 * ordered[majority] / len(records),
    )


def percentile(ordered: Sequence[int], percent: int) -> int:
    """Return the nearest-rank percentile of sorted, non-empty numbers: always one of them."""
    return ordered[max(ceil(len(ordered) * percent / 100), 1) - 1]
