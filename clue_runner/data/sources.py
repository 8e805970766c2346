"""The files of one task as bytes by name, whether from a folder, a zip or memory.

In: files that were located. Out: a ``DataSource``. Knows nothing about locating data or the content of
the files. Nothing is ever unpacked to disk.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from clue_runner.data.archives import conversions, is_table, read_member
from clue_runner.data.card import Card, SplitFile
from clue_runner.errors import DataError
from clue_runner.files.names import read_regular


class DataSource(Protocol):
    """The files of one task; file names have no folder part."""

    @property
    def label(self) -> str:
        """Return the source's name for messages and results: a path, or ``sample``."""

    @property
    def is_sample(self) -> bool:
        """Return True for the card's shipped sample: never for upload."""

    @property
    def archive(self) -> Path | None:
        """Return the zip that the files are read from, None for a folder."""

    @property
    def notes(self) -> tuple[str, ...]:
        """Return the remarks made when the files were converted; none for unchanged files."""

    def names(self) -> list[str]:
        """Return the names of all files, sorted."""

    def has(self, file: str) -> bool:
        """Return whether there is a file with this name."""

    def shown(self, file: str) -> str:
        """Return the file's name for messages: the path that the user gave, with the member of a zip."""

    def read(self, file: str) -> bytes:
        """Return the file's bytes; raises ``DataError`` if it is missing or damaged."""


@dataclass(frozen=True)
class FolderSource:
    """Files of one folder on disk."""

    label: str
    files: Mapping[str, Path]
    is_sample: bool = False
    archive: Path | None = None
    notes: tuple[str, ...] = ()

    def names(self) -> list[str]:
        """Return the names of all files, sorted."""
        return sorted(self.files)

    def has(self, file: str) -> bool:
        """Return whether there is a file with this name."""
        return file in self.files

    def shown(self, file: str) -> str:
        """Return the file's path."""
        return str(self.files[file]) if file in self.files else f"{self.label}/{file}"

    def read(self, file: str) -> bytes:
        """Return the file's bytes.

        Raises:
            DataError: no such file, or not a regular one.
            StorageError: it cannot be read now.
        """
        if file not in self.files:
            raise missing_file(self, [file])
        return read_regular(self.files[file])


@dataclass(frozen=True)
class ZipSource:
    """Files of one zip, found by base name in any inner folder, read in memory."""

    label: str
    archive: Path
    members: Mapping[str, tuple[str, ...]]
    is_sample: bool = False
    notes: tuple[str, ...] = ()

    def names(self) -> list[str]:
        """Return the base names of all members, sorted."""
        return sorted(self.members)

    def has(self, file: str) -> bool:
        """Return whether there is a member with this base name."""
        return file in self.members

    def shown(self, file: str) -> str:
        """Return ``zip:member``."""
        return f"{self.label}:{self.members[file][0] if file in self.members else file}"

    def read(self, file: str) -> bytes:
        """Return the member's bytes.

        Raises:
            DataError: no such member, two of them, or a damaged one.
            RefusedFileError: the member is larger than its directory entry states.
        """
        if file not in self.members:
            raise missing_file(self, [file])
        paths = self.members[file]
        if len(paths) > 1:
            raise DataError(
                f"the zip contains {file} in several folders",
                where=self.label,
                received=", ".join(paths),
                next_step="make a zip with one of them, or unpack it and name the folder",
            )
        return read_member(self.archive, paths[0])


@dataclass(frozen=True)
class MemorySource:
    """Splits made from a single file; ``notes`` are the remarks made when it was read."""

    label: str
    contents: Mapping[str, bytes]
    notes: tuple[str, ...] = ()
    is_sample: bool = False
    archive: Path | None = None

    def names(self) -> list[str]:
        """Return the names of the splits' files."""
        return sorted(self.contents)

    def has(self, file: str) -> bool:
        """Return whether there is such a split."""
        return file in self.contents

    def shown(self, file: str) -> str:
        """Return the file that all splits were made from."""
        return self.label

    def read(self, file: str) -> bytes:
        """Return the split's bytes; raises ``DataError`` if there is no such split."""
        if file not in self.contents:
            raise missing_file(self, [file])
        return self.contents[file]


def split_file(source: DataSource, part: SplitFile) -> str | None:
    """Return the name under which ``source`` holds a file of a split, older spellings included, or None."""
    return next((name for name in part.file_names if source.has(name)), None)


def missing_file(source: DataSource, wanted: list[str], *, advice: str | None = None) -> DataError:
    """Return the error for missing files: what was expected, what was found, what helps."""
    names = source.names()
    listed = ", ".join(names[:12]) + (f" ... ({len(names)} in all)" if len(names) > 12 else "")
    step = "check that this is the data of the task you named" + (f", or {advice}" if advice else "")
    tables = [name for name in names if is_table(name)]
    if tables and isinstance(source, FolderSource):
        first = source.files[tables[0]]
        step = f"convert tables first: {conversions(first.parent if len(tables) > 1 else first)}"
    return DataError(
        f"no file {' or '.join(wanted)} found",
        where=source.label,
        received=listed or "nothing",
        allowed=", ".join(wanted),
        next_step=step,
    )


def require_some_file(source: DataSource, card: Card) -> None:
    """Refuse a source without any of the card's files: it holds another task's data."""
    if not any(split_file(source, split) for split in card.splits.values()):
        raise missing_file(source, [split.file for split in card.splits.values()])
