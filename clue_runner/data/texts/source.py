"""Rows of tokens that were made beforehand, as a data source and as the records of its splits.

In: the folder of token files and what its manifest says of each split. Out: a ``DataSource`` whose records
are numbers of rows. Knows nothing about tokens; what is in the folder is read by ``tokens/corpus``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import overload

from clue_runner.data.card import Card
from clue_runner.data.records import Records
from clue_runner.data.sources import DataSource, missing_file
from clue_runner.errors import UsageError


@dataclass(frozen=True)
class TokenSplit:
    """One split of the token files.

    Args:
        rows: how many.
        sha256: hash of the texts that it was made from, and of which of them are in it.
        counts: figures: tokens, documents, and the count of the most frequent token.
    """

    rows: int
    sha256: str
    counts: Mapping[str, int]


@dataclass(frozen=True)
class TokenSource:
    """Token files in place of a task's files; names are those of the card's splits."""

    label: str
    folder: Path
    splits: Mapping[str, TokenSplit]
    is_sample: bool = False
    archive: Path | None = None
    notes: tuple[str, ...] = ()

    def names(self) -> list[str]:
        """Return the names of the splits."""
        return sorted(self.splits)

    def has(self, file: str) -> bool:
        """Return whether there is such a split."""
        return file in self.splits

    def shown(self, file: str) -> str:
        """Return what messages call a split."""
        return f"{self.label} ({file})"

    def read(self, file: str) -> bytes:
        """Refuse: rows are mapped into memory where they are needed, never read whole."""
        raise missing_file(self, [file])


@dataclass(frozen=True)
class RowNumbers(Sequence[int]):
    """The rows of one split, by their numbers; a slice from the beginning is the same of fewer rows."""

    folder: Path
    split: str
    total: int

    def __len__(self) -> int:
        """Return how many rows there are."""
        return self.total

    @overload
    def __getitem__(self, index: int) -> int: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[int]: ...

    def __getitem__(self, index: int | slice) -> int | Sequence[int]:
        """Return a row's number, or the numbers in a slice."""
        found = range(self.total)[index]
        if isinstance(found, range) and found.start == 0 and found.step == 1:
            return replace(self, total=len(found))
        return found


def read_token_rows(
    card: Card, source: DataSource, split: str, *, labelled: bool | None = None
) -> Records[int]:
    """Return the rows of one split as records.

    Raises:
        UsageError: the source holds no token files.
    """
    if not isinstance(source, TokenSource):
        raise UsageError(
            f"{card.name} has no files of its own: it reads running text",
            where="--task",
            received=source.label,
            next_step="clue pretrain --texts FILE",
        )
    found = source.splits[split]
    return Records(
        split=split,
        items=RowNumbers(source.folder, split, found.rows),
        file=split,
        sha256=found.sha256,
        total=found.rows,
        path=source.shown(split),
        counts=dict(found.counts),
    )
