"""What every reader does around its own work: take a file's bytes, make ``Records`` of what it noticed.

In: a card, a source, what was read. Out: bytes, ``Records``, or one error with every finding.
Knows nothing about any layout.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath

from clue_runner.data.card import Card, SplitFile
from clue_runner.data.foreign.recognise import LAYOUTS, recognise
from clue_runner.data.readers.json_document import JsonDocument, bad_records, parse_document
from clue_runner.data.records import Records, RecordT_co
from clue_runner.data.sources import DataSource, missing_file, split_file
from clue_runner.errors import DataError, Problem


@dataclass(frozen=True)
class Part:
    """One file of a split.

    Args:
        name: its name without folders, for warnings and figures.
        path: what messages call it: the path that the user gave; of a zip, the member too.
        raw: its bytes.
    """

    name: str
    path: str
    raw: bytes


@dataclass(frozen=True)
class Origin:
    """Where the records of one split come from.

    Args:
        card: the task.
        source: where its files are.
        split: a name in ``card.splits``.
        parts: its files in the order of the records.
        sha256: hash of the bytes.
    """

    card: Card
    source: DataSource
    split: str
    parts: Sequence[Part]
    sha256: str

    @property
    def file(self) -> str:
        """Return the name of the file, or of several joined by " + "."""
        return " + ".join(part.name for part in self.parts)

    @property
    def path(self) -> str:
        """Return what messages call the file, or several joined by " + "."""
        return " + ".join(part.path for part in self.parts)


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


def read_part(source: DataSource, declared: SplitFile) -> Part:
    """Return a file of a split, under whichever of its names it is there.

    Raises:
        DataError: it is not there; the error says what is.
    """
    file = split_file(source, declared)
    if file is None:
        raise missing_file(source, list(declared.file_names))
    path = source.shown(file)
    # A file of the user's own answers to the name that the card gives.
    return Part(file if path.endswith(file) else PurePath(path).name, path, source.read(file))


def read_document(card: Card, part: Part) -> JsonDocument:
    """Return the value of a file that is one JSON value; raises ``DataError`` with what it is instead."""
    try:
        return parse_document(part.raw, part.path)
    except DataError as error:
        raise another_layout(card, part) or error from None


def official(card: Card) -> str:
    """Return how a whole file is got, as the end of an advice; empty where nothing is published."""
    return f", or get the official file: clue data get {card.argument}" if card.download else ""


def another_layout(card: Card, part: Part) -> DataError | None:
    """Return the error for a file of which no record can be read, or None where it is of no other layout."""
    return name_layout(part.raw, part.path, card.layout, card.argument)


def name_layout(raw: bytes, path: str, wanted: str, task: str = "NAME") -> DataError | None:
    """Return the error that names what a file is, with the command that helps, or None.

    Args:
        raw: its bytes, of which no record could be read.
        path: what messages call it.
        wanted: the layout that was to be read, as cards name it.
        task: what a command calls the task.
    """
    seen = recognise(raw)
    layout = LAYOUTS[wanted]
    if seen is None or (seen.shape in layout.own and not seen.form):
        return None
    if seen.shape == "no data":
        return DataError(f"not data: {seen.text}", where=path, next_step=seen.next_step)
    file = shlex.quote(path) if Path(path).is_file() else "FILE"
    if seen.shape in layout.converted:
        advice = f"clue data convert {shlex.quote(task)} --from {file} --output DIR"
    else:
        readers = [name for name, other in LAYOUTS.items() if seen.shape in other.own and name != wanted]
        advice = f"give {layout.text}"
        if readers:
            advice += f", or name a task of the layout {' or '.join(readers)} (clue tasks)"
    return DataError(f"not {layout.text}, but {seen.text}{seen.form}", where=path, next_step=advice)


def make_records(
    origin: Origin, items: Sequence[RecordT_co], noticed: Noticed, *, total: int | None = None
) -> Records[RecordT_co]:
    """Return the records of a split; what was repaired is also said as a warning.

    Args:
        origin: where they come from.
        items: the usable records in file order.
        noticed: what was noticed.
        total: records in the file; None: as many as are usable.

    Raises:
        DataError: something is wrong, or there is no record.
    """
    if noticed.problems:
        other = None if items else another_layout(origin.card, origin.parts[0])
        raise other or bad_records(origin.path, noticed.problems, official(origin.card))
    if not items and total:
        left_out = ", ".join(f"{number:,} {why}" for why, number in noticed.skipped.items())
        raise DataError(
            f"no usable record in the {origin.split} split",
            where=origin.path,
            received=f"left out: {left_out}",
        )
    if not items:
        raise DataError(
            f"the {origin.split} split is empty",
            where=origin.path,
            next_step=f"give a file with records{official(origin.card)}",
        )
    total = len(items) if total is None else total
    count = wrong_count(origin, total)
    counted = [f"{origin.path}: {number:,} {what}" for what, number in noticed.counts.items()]
    return Records(
        split=origin.split,
        items=tuple(items),
        file=origin.file,
        sha256=origin.sha256,
        total=total,
        skipped=dict(noticed.skipped),
        path=origin.path,
        warnings=tuple(filter(None, [count, *counted, *noticed.remarks])),
        complete=count is None,
        counts={**noticed.counts, **noticed.figures},
    )


def wrong_count(origin: Origin, total: int) -> str | None:
    """Return the warning for a record count that the card does not know, or None."""
    card, split = origin.card, origin.split
    if origin.source.is_sample:
        known = [card.sample.records[split]] if card.sample and split in card.sample.records else []
    else:
        known = card.splits[split].records
    if not known or total in known:
        return None
    expected = " or ".join(f"{count:,}" for count in known)
    return f"{origin.path} has {total:,} records, the official one has {expected}"
