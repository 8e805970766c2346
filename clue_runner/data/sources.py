"""Where a task's files come from: a folder, an official zip, the shipped sample; read as bytes.

In: a card and what the user gave for ``--data``. Out: a ``DataSource``.
Knows nothing about what is inside the files. Nothing is ever unpacked to disk.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from zipfile import is_zipfile

from clue_runner.config.shipped import clue_home
from clue_runner.data.archives import open_archive, read_member
from clue_runner.data.cards import Card, SplitFile
from clue_runner.errors import DataError


class DataSource(Protocol):
    """The files of one task; file names have no folder part."""

    @property
    def label(self) -> str:
        """Return what messages and results call this source: a path, or ``sample``."""

    @property
    def is_sample(self) -> bool:
        """Return True for the records that ship with the card: never for upload."""

    @property
    def archive(self) -> Path | None:
        """Return the zip that the files are read from, None for a folder."""

    def names(self) -> list[str]:
        """Return the names of all files, sorted."""

    def has(self, file: str) -> bool:
        """Return whether there is a file of this name."""

    def read(self, file: str) -> bytes:
        """Return the file's bytes; raises ``DataError`` where it is missing or damaged."""


@dataclass(frozen=True)
class FolderSource:
    """Files of one folder on disk."""

    label: str
    files: Mapping[str, Path]
    is_sample: bool = False
    archive: Path | None = None

    def names(self) -> list[str]:
        """Return the names of all files, sorted."""
        return sorted(self.files)

    def has(self, file: str) -> bool:
        """Return whether there is a file of this name."""
        return file in self.files

    def read(self, file: str) -> bytes:
        """Return the file's bytes.

        Raises:
            DataError: no such file, or it cannot be read.
        """
        if file not in self.files:
            raise missing_file(self, [file])
        try:
            return self.files[file].read_bytes()
        except OSError as error:
            raise DataError(
                "cannot read the file", where=str(self.files[file]), received=error.strerror
            ) from None


@dataclass(frozen=True)
class ZipSource:
    """Files of one zip, found by base name in whatever inner folder they lie, read in memory."""

    label: str
    archive: Path
    members: Mapping[str, tuple[str, ...]]
    is_sample: bool = False

    def names(self) -> list[str]:
        """Return the base names of all members, sorted."""
        return sorted(self.members)

    def has(self, file: str) -> bool:
        """Return whether there is a member of this base name."""
        return file in self.members

    def read(self, file: str) -> bytes:
        """Return the member's bytes.

        Raises:
            DataError: no such member, two of them, or a damaged one.
            RefusedFileError: the member is more than it says.
        """
        if file not in self.members:
            raise missing_file(self, [file])
        paths = self.members[file]
        if len(paths) > 1:
            raise DataError(
                f"the zip holds {file} in several folders",
                where=self.label,
                received=", ".join(paths),
                next_step="make a zip with one of them, or unpack it and name the folder",
            )
        return read_member(self.archive, paths[0])


def locate(card: Card, data: str | None, *, offline: bool | None = None) -> DataSource:
    """Return the source of ``card``'s files.

    Args:
        card: the task.
        data: ``sample``, a folder or a zip; None: ``$CLUE_HOME/data/<task>``, then the card's own
            folder, then the official download.
        offline: never download; None asks ``$CLUE_OFFLINE``.

    Raises:
        DataError: nothing there, or not this task's files; says every way to give data.
    """
    if data == "sample":
        return open_sample(card)
    if data is not None:
        return open_source(data, card)
    for folder in (data_folder(card), card.folder, card.folder / "data"):
        if folder.is_dir() and _holds_data(folder, card):
            return open_source(folder, card)
    # imported here because download.py checks what it fetched with open_source
    from clue_runner.data.download import fetch

    return open_source(fetch(card, offline=offline), card)


def open_sample(card: Card) -> DataSource:
    """Return the records that ship with the card."""
    folder = card.folder / "sample"
    if not folder.is_dir():
        raise DataError(
            f"{card.name} has no sample records", where=str(folder), next_step="give --data FOLDER or ZIP"
        )
    return FolderSource("sample", _folder_files(folder), is_sample=True)


def open_source(path: str | Path, card: Card) -> DataSource:
    """Return the source at ``path``: a folder with the files, a folder with the zip, or the zip.

    Raises:
        DataError: no such path, not a zip, or none of the card's files in it.
        RefusedFileError: a zip built to harm.
    """
    location = Path(path).expanduser()
    if not location.exists():
        raise DataError(
            "no such file or folder",
            where=str(path),
            next_step="give --data a folder or an official zip, or --data sample for the shipped records",
        )
    if location.is_dir():
        return _open_folder(location, card)
    if card.layout == "passages" and not is_zipfile(location):
        # imported here because passages.py needs the readers, and they need this module
        from clue_runner.data.passages import open_questions

        return open_questions(location)
    members = open_archive(location)
    source = ZipSource(str(path), location, members)
    _require_some_file(source, card)
    return source


def data_folder(card: Card) -> Path:
    """Return where ``clue data get`` puts the task's zip: ``$CLUE_HOME/data/<task>``."""
    return clue_home() / "data" / card.name


def split_file(source: DataSource, part: SplitFile) -> str | None:
    """Return the name under which ``source`` holds a file of a split, older spellings included, or None."""
    return next((name for name in part.file_names if source.has(name)), None)


def is_offline(offline: bool | None = None) -> bool:
    """Return whether downloads are off, by the flag or by ``$CLUE_OFFLINE``."""
    return offline if offline is not None else os.environ.get("CLUE_OFFLINE", "") not in {"", "0"}


def missing_file(source: DataSource, wanted: list[str], *, advice: str | None = None) -> DataError:
    """Return the error for files that are not there: what was expected, what was found, what else helps."""
    names = source.names()
    found = ", ".join(names[:12]) + (f" ... ({len(names)} in all)" if len(names) > 12 else "")
    return DataError(
        f"no {' or '.join(wanted)} here",
        where=source.label,
        received=found or "nothing",
        allowed=", ".join(wanted),
        next_step="check that this is the data of the task you named" + (f", or {advice}" if advice else ""),
    )


def _open_folder(folder: Path, card: Card) -> DataSource:
    """Return the source in a folder: its files, its zip, or the files one folder further down."""
    wanted = {name for split in card.splits.values() for name in split.file_names}
    files = _folder_files(folder)
    if wanted & files.keys():
        return FolderSource(str(folder), files)
    if card.download and card.download.file in files:
        return open_source(files[card.download.file], card)
    inner = [found for found in map(_folder_files, _subfolders(folder)) if wanted & found.keys()]
    if len(inner) == 1:
        return FolderSource(str(folder), inner[0])
    source = FolderSource(str(folder), files)
    _require_some_file(source, card)
    return source


def _require_some_file(source: DataSource, card: Card) -> None:
    """Raise where not one of the card's files is there: these are some other task's data."""
    if not any(split_file(source, split) for split in card.splits.values()):
        raise missing_file(source, [split.file for split in card.splits.values()])


def _holds_data(folder: Path, card: Card) -> bool:
    """Return whether the folder itself holds a file or the zip of the card."""
    names = {name for split in card.splits.values() for name in split.file_names}
    if card.download:
        names.add(card.download.file)
    return any((folder / name).is_file() for name in names)


def _folder_files(folder: Path) -> dict[str, Path]:
    """Return name -> path of the visible files in ``folder``."""
    return {
        path.name: path
        for path in sorted(folder.iterdir())
        if path.is_file() and not path.name.startswith(".")
    }


def _subfolders(folder: Path) -> list[Path]:
    """Return the visible folders inside, sorted; ``__MACOSX`` is litter."""
    return [
        path for path in sorted(folder.iterdir()) if path.is_dir() and not path.name.startswith((".", "__"))
    ]
