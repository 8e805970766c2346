"""Encoded examples as a few flat NumPy arrays: adapters encode into them, batches are cut from them.

In: ragged token columns (one flat array each, with shared ``offsets``) and columns with one value per row.
Out: ``Rows``, from which a part can be taken. Knows nothing about tasks or tensors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.generic]
IntArray = NDArray[np.int64]

Draw = Callable[[dict[str, Array]], dict[str, Array]]

UNKNOWN_TOKENS = "tokens unknown to the vocabulary"
_PART = 1 << 22  # tokens that are looked at together
ROW = "row"  # the batch column with the index of each slot's row; no network reads it


@dataclass(frozen=True)
class GoldAnswers:
    """How many gold answers the encoded records hold, and how many of them no row can express.

    Args:
        total: gold answers (entities, spans, blanks) of all records; 0 where a split has no labels.
        lost: those that no token boundary can express, or that are cut off in every row.
    """

    total: int = 0
    lost: int = 0

    def __post_init__(self) -> None:
        """Refuse impossible counts."""
        if not 0 <= self.lost <= self.total:
            raise ValueError(f"{self.lost} of {self.total} gold answers lost")

    @property
    def lost_share(self) -> float:
        """Return the fraction of gold answers that are lost, 0 to 1; 0 if there are none."""
        return self.lost / self.total if self.total else 0.0


@dataclass(frozen=True)
class Rows:
    """Rows of different lengths in flat arrays.

    Args:
        offsets: (rows + 1,) int64; row i holds tokens ``offsets[i]:offsets[i + 1]``.
        tokens: name -> (total tokens,) array: ``token_ids`` int32, ``segment_ids`` int32, ...
        columns: name -> (rows, ...) array: ``label`` int32 (-1 where there is none), ...
        record: (rows,) int64, the record that each row came from.
        group: (rows,) int64, non-decreasing; rows of one group are one example and stay together.
        notes: what encoding lost -> how often ("cut to 128 tokens" -> 37); no entry for 0.
        host_columns: names of token columns and columns that no network reads (character offsets, the
            owner of a window); always includes ``row``. ``batches.split_batch`` keeps them off the device.
        gold: gold answers of the records, and how many of them are in no row.
        draw: changes the padded arrays of a batch, by what is drawn for each of its rows; None: nothing is.

    Raises:
        ValueError: arrays that do not fit together, an empty row, groups out of order, or a host column that
            does not exist.
    """

    offsets: IntArray
    tokens: Mapping[str, Array]
    columns: Mapping[str, Array]
    record: IntArray
    group: IntArray
    notes: Mapping[str, int] = field(default_factory=dict)
    host_columns: frozenset[str] = frozenset({ROW})
    gold: GoldAnswers = GoldAnswers()
    draw: Draw | None = None

    def __post_init__(self) -> None:
        """Refuse inconsistent arrays here, before they cause a NaN in the middle of a run."""
        count = len(self.offsets) - 1
        if count < 0 or self.offsets[0] != 0:
            raise ValueError("offsets must begin with 0")
        if count and int(np.diff(self.offsets).min()) < 1:
            raise ValueError("every row needs at least one token")
        for name, values in self.tokens.items():
            if values.shape != (int(self.offsets[-1]),):
                raise ValueError(
                    f"tokens {name!r}: shape {values.shape}, expected ({int(self.offsets[-1])},)"
                )
        for name, values in [*self.columns.items(), ("record", self.record), ("group", self.group)]:
            if len(values) != count:
                raise ValueError(f"column {name!r}: {len(values)} values for {count} rows")
        if count and int(np.diff(self.group, append=self.group[-1]).min()) < 0:
            raise ValueError("groups must be non-decreasing")
        object.__setattr__(self, "host_columns", frozenset(self.host_columns) | {ROW})
        unknown = self.host_columns - {ROW, *self.tokens, *self.columns}
        if unknown:
            raise ValueError(f"host columns that do not exist: {', '.join(sorted(unknown))}")

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.offsets) - 1

    @cached_property
    def lengths(self) -> IntArray:
        """Return (rows,) int64, the number of tokens in each row."""
        return np.diff(self.offsets)

    @cached_property
    def group_starts(self) -> IntArray:
        """Return (groups + 1,) int64; group i holds rows ``group_starts[i]:group_starts[i + 1]``."""
        if not len(self):
            return np.zeros(1, np.int64)
        changes = np.flatnonzero(np.diff(self.group)) + 1
        return np.concatenate(([0], changes, [len(self)])).astype(np.int64)

    @cached_property
    def group_lengths(self) -> IntArray:
        """Return (groups,) int64, the number of tokens in the longest row of each group."""
        if not len(self):
            return np.zeros(0, np.int64)
        return np.maximum.reduceat(self.lengths, self.group_starts[:-1])

    @cached_property
    def largest_group(self) -> int:
        """Return the number of rows in the largest group; 1 where there are none."""
        return int(np.diff(self.group_starts).max(initial=1))

    def take(self, indices: IntArray) -> Rows:
        """Return the rows at ``indices``, whose groups must stay in order, as ``Rows`` of their own.

        Notes and gold answers stay those of the whole encoding.
        """
        indices = np.asarray(indices, np.int64)
        lengths = self.lengths[indices]
        offsets = np.concatenate(([0], np.cumsum(lengths))).astype(np.int64)
        source = np.arange(offsets[-1]) + np.repeat(self.offsets[indices] - offsets[:-1], lengths)
        return Rows(
            offsets,
            {name: values[source] for name, values in self.tokens.items()},
            {name: values[indices] for name, values in self.columns.items()},
            self.record[indices],
            self.group[indices],
            self.notes,
            self.host_columns,
            self.gold,
            self.draw,
        )


def note_unknown(rows: Rows, unknown_id: int) -> Rows:
    """Return the rows with a note that counts the tokens with the id ``unknown_id``."""
    ids = rows.tokens["token_ids"]  # a part at a time: they may be a file of any size, mapped into memory
    starts = range(0, len(ids), _PART)
    count = sum(int(np.count_nonzero(ids[start : start + _PART] == unknown_id)) for start in starts)
    return replace(rows, notes={**rows.notes, UNKNOWN_TOKENS: count}) if count else rows
