"""What every reader does around its own work: take a file's bytes, make ``Records`` of what it found.

In: a card, a source, what was read. Out: bytes, ``Records``, or one error with every finding.
Knows nothing about any layout.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from clue_runner.data.card import Card, SplitFile
from clue_runner.data.readers.json_document import bad_records
from clue_runner.data.records import Records, RecordT_co
from clue_runner.data.sources import DataSource, missing_file, split_file
from clue_runner.errors import DataError, Problem


@dataclass(frozen=True)
class Origin:
    """Where the records of one split come from.

    Args:
        card: the task.
        source: where its files are.
        split: a name in ``card.splits``.
        file: name of the file, or of several joined by " + ".
        sha256: hash of the bytes.
    """

    card: Card
    source: DataSource
    split: str
    file: str
    sha256: str


@dataclass
class Noticed:
    """What was noticed in the records of a split.

    Args:
        problems: what is wrong; one is enough to refuse the file.
        counts: what was repaired or noticed in records that were kept -> how many.
        skipped: why records were left out -> how many.
        figures: sizes that are nothing to warn of (entities, blanks).
        remarks: whole sentences that a user should be told.
    """

    problems: Sequence[Problem] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    skipped: Mapping[str, int] = field(default_factory=dict)
    figures: Mapping[str, int] = field(default_factory=dict)
    remarks: Sequence[str] = ()


def read_part(source: DataSource, part: SplitFile) -> tuple[str, bytes]:
    """Return (name, bytes) of a file of a split, under whichever of its names it is there.

    Raises:
        DataError: it is not there; the error says what is.
    """
    file = split_file(source, part)
    if file is None:
        raise missing_file(source, list(part.file_names))
    return file, source.read(file)


def make_records(
    origin: Origin, items: Sequence[RecordT_co], found: Noticed, *, total: int | None = None
) -> Records[RecordT_co]:
    """Return the records of a split; what was repaired is also said as a warning.

    Args:
        origin: where they come from.
        items: the usable records in file order.
        found: what was noticed.
        total: records in the file; None: as many as are usable.

    Raises:
        DataError: something is wrong, or there is no record.
    """
    if found.problems:
        raise bad_records(origin.file, found.problems)
    if not items and total:
        left_out = ", ".join(f"{number:,} {why}" for why, number in found.skipped.items())
        raise DataError(
            f"no usable record in the {origin.split} split",
            where=f"{origin.source.label}:{origin.file}",
            received=f"left out: {left_out}",
        )
    if not items:
        raise DataError(
            f"the {origin.split} split is empty",
            where=f"{origin.source.label}:{origin.file}",
            next_step="get the data again: clue data get",
        )
    total = len(items) if total is None else total
    count = wrong_count(origin.card, origin.split, total, is_sample=origin.source.is_sample)
    counted = [f"{origin.file}: {number:,} {what}" for what, number in found.counts.items()]
    return Records(
        split=origin.split,
        items=tuple(items),
        file=origin.file,
        sha256=origin.sha256,
        total=total,
        skipped=dict(found.skipped),
        warnings=tuple(filter(None, [count, *counted, *found.remarks])),
        complete=count is None,
        counts={**found.counts, **found.figures},
    )


def wrong_count(card: Card, split: str, total: int, *, is_sample: bool = False) -> str | None:
    """Return the warning for a record count that the card does not know, or None."""
    if is_sample:
        known = [card.sample.records[split]] if card.sample and split in card.sample.records else []
    else:
        known = card.splits[split].records
    if not known or total in known:
        return None
    expected = " or ".join(f"{count:,}" for count in known)
    return f"{card.splits[split].file} has {total:,} records, the official one has {expected}"
