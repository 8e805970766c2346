"""What every conversion gives: records ready to be written, and what was noticed on the way.

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
        value: as the task's layout has it, a JSON object.
        group: records with equal ones stay in one split when a file is divided.
        label: what a division keeps the share of; empty where the task has no classes.
    """

    value: dict[str, Any]
    group: Hashable
    label: str = ""


@dataclass
class ConvertedFile:
    """The records of one file, what is wrong with others, and remarks for the user."""

    records: list[ConvertedRecord] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def whole(self, path: str) -> Sequence[ConvertedRecord]:
        """Return the records.

        Raises:
            DataError: something is wrong, or there is no record.
        """
        if self.problems:
            count = len(self.problems)
            raise DataError(
                f"{count:,} bad record{'' if count == 1 else 's'} in {path}",
                problems=self.problems,
                next_step="correct the places named; nothing was written",
            )
        if not self.records:
            raise DataError("no records in the file", where=path)
        return self.records
