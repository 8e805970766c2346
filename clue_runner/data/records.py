"""The records that readers give and everything else takes: plain data, no tokens.

In: nothing. Out: frozen dataclasses. Knows nothing about files, tokens or models.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar


@dataclass(frozen=True, slots=True)
class TextRecord:
    """One example of a classification task.

    Args:
        id: the record's own id as the file holds it, or its row number from 0 where the file has none.
        texts: one or two texts, template already applied.
        label: a label of the card, or None in a split without labels.
        line: line number in the file, from 1.
    """

    id: int | str
    texts: tuple[str, ...]
    label: str | None
    line: int


RecordT_co = TypeVar("RecordT_co", covariant=True)


@dataclass(frozen=True)
class Records(Generic[RecordT_co]):
    """The usable records of one split, in file order, and what was seen on the way.

    Args:
        split: the split's name in the card.
        items: the usable records.
        file: the member's name, for messages.
        sha256: hash of the member's bytes.
        total: records in the file, left-out ones counted.
        skipped: why records were left out -> how many ("label '-'" -> 50).
        warnings: things a user should be told, once each.
    """

    split: str
    items: Sequence[RecordT_co]
    file: str
    sha256: str
    total: int
    skipped: dict[str, int] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    def __len__(self) -> int:
        """Return the number of usable records."""
        return len(self.items)
