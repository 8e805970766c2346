"""The common work of all readers: take a file's bytes, make ``Records`` with the findings.

In: a card, a source, the items read. Out: bytes, ``Records``, or one error with every finding.
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
        name: its name without folders, for warnings and counts.
        path: its name in messages: the path that the user gave, with the member of a zip.
        raw: its bytes.
    """

    name: str
    path: str
    raw: bytes


@dataclass(frozen=True)
class Origin:
    """The origin of one split's records.

    Args:
        card: the task.
        source: where its files are.
        split: a name in ``card.splits``.
        parts: its files in the order of the records.
        sha256: the hash of the bytes.
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
        """Return the name of the file, or of several joined by " + ", for messages."""
        return " + ".join(part.path for part in self.parts)


@dataclass
class Noticed:
    """The findings on the records of a split.

    Args:
        problems: faults; one is enough to refuse the file.
        counts: what was repaired or noticed in records that were kept -> their number.
        skipped: why records were left out -> their number.
        figures: further counts that need no warning (entities, blanks).
        remarks: complete sentences for the user.
    """

    problems: Sequence[Problem] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    skipped: Mapping[str, int] = field(default_factory=dict)
    figures: Mapping[str, int] = field(default_factory=dict)
    remarks: Sequence[str] = ()


def read_part(source: DataSource, declared: SplitFile) -> Part:
    """Return a file of a split, under any of its names.

    Raises:
        DataError: it is missing; the error lists the files found.
    """
    file = split_file(source, declared)
    if file is None:
        raise missing_file(source, list(declared.file_names))
    path = source.shown(file)
    # A user's own file is found under the name that the card gives.
    return Part(file if path.endswith(file) else PurePath(path).name, path, source.read(file))


def read_document(card: Card, part: Part) -> JsonDocument:
    """Return the value of a file that is one JSON value; raises ``DataError`` that names its real format."""
    try:
        return parse_document(part.raw, part.path)
    except DataError as error:
        raise another_layout(card, part) or error from None


def official(card: Card) -> str:
    """Return how to get the complete file, as the end of a hint; empty where nothing is published."""
    return f", or get the official file: clue data get {card.argument}" if card.download else ""


def another_layout(card: Card, part: Part) -> DataError | None:
    """Return the error for a file without readable records, or None if it is in no other known layout."""
    return name_layout(part.raw, part.path, card.layout, card.argument)


def name_layout(raw: bytes, path: str, wanted: str, task: str = "NAME") -> DataError | None:
    """Return the error that names a file's format, with the command that helps, or None.

    Args:
        raw: its bytes, of which no record could be read.
        path: its name in messages.
        wanted: the expected layout, as named in cards.
        task: the task's argument for commands.
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
            advice += f", or name a task with the layout {' or '.join(readers)} (clue tasks)"
    return DataError(f"not {layout.text}, but {seen.text}{seen.form}", where=path, next_step=advice)


def make_records(
    origin: Origin, items: Sequence[RecordT_co], noticed: Noticed, *, total: int | None = None
) -> Records[RecordT_co]:
    """Return the records of a split; repairs are also reported as warnings.

    Args:
        origin: their source.
        items: the usable records in file order.
        noticed: the findings.
        total: records in the file; None: as many as are usable.

    Raises:
        DataError: there are problems, or no records.
    """
    if noticed.problems:
        other = None if items else another_layout(origin.card, origin.parts[0])
        raise other or bad_records(origin.path, noticed.problems, official(origin.card))
    if not items and total:
        left_out = ", ".join(f"{number:,} {why}" for why, number in noticed.skipped.items())
        raise DataError(
            f"the {origin.split} split has no usable record",
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
    return f"{origin.path} has {total:,} records, the official file has {expected}"
