"""Chooses where a task's files come from: the path given, the user's folders, or the official download.

In: a card and what the user gave for ``--data``. Out: a ``DataSource``.
Knows nothing about the files' content.
"""

from __future__ import annotations

from pathlib import Path
from zipfile import is_zipfile

from clue_runner.data.archives import open_archive
from clue_runner.data.at_hand import data_at_hand
from clue_runner.data.card import Card
from clue_runner.data.download import Say, fetch
from clue_runner.data.foreign.questions import open_questions
from clue_runner.data.sources import DataSource, FolderSource, ZipSource, require_some_file
from clue_runner.errors import DataError, StorageError
from clue_runner.files.litter import entries
from clue_runner.files.names import open_regular, user_path


def locate(
    card: Card, data: str | None, *, offline: bool | None = None, say: Say | None = None
) -> DataSource:
    """Return the source of ``card``'s files.

    Args:
        card: the task.
        data: ``sample``, a folder or a zip; None: the card's own folder, then ``$CLUE_HOME/data/<task>``,
            then the official download.
        offline: never download; None asks ``$CLUE_OFFLINE``.
        say: called with what a download is waiting for.

    Raises:
        DataError: no files, or not this task's; lists every way to provide data.
    """
    if data == "sample":
        return open_sample(card)
    if data is not None:
        return open_source(data, card)
    return open_source(data_at_hand(card) or fetch(card, offline=offline, say=say), card)


def open_sample(card: Card) -> DataSource:
    """Return the records that ship with the card."""
    folder = card.folder / "sample"
    if not folder.is_dir():
        raise DataError(
            f"{card.name} has no sample records",
            where=str(folder),
            next_step="name a folder or a zip of its data",
        )
    return FolderSource("sample", _folder_files(folder), is_sample=True)


def open_source(path: str | Path, card: Card) -> DataSource:
    """Return the source at ``path``: a folder with the files, a folder with the zip, or the zip.

    Raises:
        DataError: no such path, not a zip, or none of the card's files in it.
        RefusedFileError: a malicious zip.
    """
    location = user_path(path)
    if not location.exists():
        raise DataError(
            "no such file or folder",
            where=str(path),
            next_step="name a folder or an official zip, or 'sample' for the records that ship with the card",
        )
    if location.is_dir():
        return _open_folder(location, card)
    if card.layout == "passages" and not _is_zip(location):
        return open_questions(location)
    members = open_archive(location)
    source = ZipSource(str(path), location, members)
    require_some_file(source, card)
    return source


def _is_zip(path: Path) -> bool:
    """Return whether the file is a zip, whatever its name."""
    with open_regular(path) as stream:
        return is_zipfile(stream)


def _open_folder(folder: Path, card: Card) -> DataSource:
    """Return the source in a folder: its files, its zip, or the files one folder below."""
    wanted = {name for split in card.splits.values() for name in split.file_names}
    files = _folder_files(folder)
    if wanted & files.keys():
        return FolderSource(str(folder), files)
    if card.download and card.download.file in files:
        return open_source(files[card.download.file], card)
    inner = [inside for inside in map(_folder_files, _subfolders(folder)) if wanted & inside.keys()]
    if len(inner) == 1:
        return FolderSource(str(folder), inner[0])
    source = FolderSource(str(folder), files)
    require_some_file(source, card)
    return source


def _folder_files(folder: Path) -> dict[str, Path]:
    """Return name -> path of the regular files in ``folder``."""
    return {path.name: path for path in _listed(folder) if path.is_file()}


def _subfolders(folder: Path) -> list[Path]:
    """Return the folders inside, sorted."""
    return [path for path in _listed(folder) if path.is_dir()]


def _listed(folder: Path) -> list[Path]:
    """Return the folder's entries, without litter."""
    try:
        return entries(folder)
    except OSError as error:
        raise StorageError(
            "cannot list the folder", where=str(folder), received=(error.strerror or str(error)).lower()
        ) from None
