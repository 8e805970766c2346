"""Finds the test records to compare a submission with, without ever downloading.

In: a card, what the user gave for ``--data``, the run a file came from. Out: records, or None.
Knows nothing about submissions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from clue_runner.data.cards import Card
from clue_runner.data.layouts import read_records
from clue_runner.data.locate import locate, open_source
from clue_runner.data.records import Records
from clue_runner.data.sources import DataSource, split_file
from clue_runner.errors import DataError
from clue_runner.files.names import user_path


@dataclass
class TestFiles:
    """Looks up test records.

    Args:
        data: a folder, a zip, a folder of either for each task, or ``sample``; None: what the run used,
            else ``$CLUE_HOME/data/<task>``.
        used: task being checked -> where the run of its file read its data, if that is known. Data that does
            not name its task belongs to the only one.
    """

    __test__ = False  # not a test class for pytest, despite its name

    data: str | None
    used: Mapping[str, str | None]
    _sources: dict[str, DataSource | None] = field(default_factory=dict)
    _records: dict[tuple[str, str], Records[Any] | None] = field(default_factory=dict)

    def source(self, card: Card) -> DataSource | None:
        """Return the source of the task's files, or None if there is none."""
        if card.name not in self._sources:
            self._sources[card.name] = self._find(card)
        return self._sources[card.name]

    def records(self, card: Card, split: str) -> Records[Any] | None:
        """Return the records of a test split in file order, or None if the file is not available."""
        key = (card.name, split)
        if key not in self._records:
            source = self.source(card)
            there = source is not None and split_file(source, card.splits[split]) is not None
            self._records[key] = read_records(card, source, split) if source and there else None
        return self._records[key]

    def _find(self, card: Card) -> DataSource | None:
        """Return the task's source from ``data``, else from the cache."""
        if self.data == "sample":
            return locate(card, "sample")
        if self.data is None:
            return self._find_unnamed(card)
        location = user_path(self.data)
        if (location / card.name).is_dir():
            return open_source(location / card.name, card)
        zip_name = card.download.file if card.download else ""
        if location.is_dir() and (location / zip_name).is_file() and zip_name:
            return open_source(location / zip_name, card)
        if len(self.used) == 1 or zip_name == location.name or location.name == card.name:
            return open_source(location, card)
        return None

    def _find_unnamed(self, card: Card) -> DataSource | None:
        """Return the data that the run used, else the cache's; None is reported with the result."""
        used = self.used.get(card.name)
        if used == "sample":
            return None  # answers to the sample are refused by their count
        for place in (used, None):
            try:
                return locate(card, place, offline=True)
            except DataError:
                continue  # moved or deleted in the meantime
        return None
