"""The result of a conversion: records ready to be written, and remarks.

In: nothing. Out: plain data. Knows nothing about layouts.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any

from clue_runner.errors import DataError, Problem


@dataclass(frozen=True)
class ConvertedRecord:
    """One record.

    Args:
        value: a JSON object in the task's layout.
        group: records with equal groups stay in one split when a file is split.
        label: for stratified splits; empty where the task has no classes.
    """

    value: dict[str, Any]
    group: Hashable
    label: str = ""


@dataclass
class ConvertedFile:
    """The records of one file, the problems of others, and remarks for the user."""

    records: list[ConvertedRecord] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def whole(self, path: str) -> Sequence[ConvertedRecord]:
        """Return the records.

        Raises:
            DataError: there are problems, or no records.
        """
        if self.problems:
            count = len(self.problems)
            raise DataError(
                f"{count:,} bad record{'' if count == 1 else 's'} in {path}",
                problems=self.problems,
                next_step="correct the places above; nothing was written",
            )
        if not self.records:
            raise DataError("no records in the file", where=path)
        return self.records
