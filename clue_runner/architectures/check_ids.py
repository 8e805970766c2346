"""Finds ids outside the network's tables before training: a lookup would silently return zeros.

In: a shape, the size of the vocabulary, encoded rows. Out: nothing, or one error that names every column.
Knows nothing about tensors or how rows are made. Labels belong to the tasks and are checked there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from clue_runner.architectures.base import BaseShape, Lookup
from clue_runner.errors import Problem, UsageError
from clue_runner.tokens.rows import Rows


def check_ids(
    shape: BaseShape,
    vocab_size: int,
    splits: Mapping[str, Rows],
    limits: Mapping[str, int] | None = None,
    advice: str | None = None,
) -> None:
    """Refuse rows with an id that is outside its table, or with more tokens than there are positions.

    Args:
        shape: of the network.
        vocab_size: rows of the token embeddings.
        splits: encoded rows by the name of their split.
        limits: column -> how many ids the tokenizer has for it; if the shape knows the column, it decides.
        advice: what to do instead of changing a setting, if settings can no longer be changed.

    Raises:
        UsageError: with the split, the column, how many rows, and the setting to change.
    """
    own = list(shape.lookups(vocab_size))
    known = {lookup.column for lookup in own}
    again = "encode the rows again: --set data.cache=false"
    further = [Lookup(name, size, "the tokenizer's ids", again) for name, size in (limits or {}).items()]
    lookups = [*own, *(lookup for lookup in further if lookup.column not in known)]
    if advice is not None:
        lookups = [replace(lookup, next_step=advice) for lookup in lookups]
    problems = [problem for split, rows in splits.items() for problem in _outside(lookups, split, rows)]
    if problems:
        raise UsageError("rows contain ids without a vector in the model", problems=problems)


def _outside(lookups: Sequence[Lookup], split: str, rows: Rows) -> Iterator[Problem]:
    """Yield what is outside its table in one split."""
    for lookup in lookups:
        if lookup.column is None:
            longest = int(rows.lengths.max(initial=0))
            if longest > lookup.size:
                long = int((rows.lengths > lookup.size).sum())
                what = f"{long:,} of {len(rows):,} rows have more tokens than {lookup.setting} allows"
                yield Problem(what, split, f"up to {longest:,}", f"up to {lookup.size:,}", lookup.next_step)
            continue
        name = lookup.column
        values = rows.tokens.get(name, rows.columns.get(name))
        if values is None or not values.size:
            continue
        low, high = int(np.min(values)), int(np.max(values))
        if low < 0 or high >= lookup.size:
            what = (
                f"{_affected(rows, name, lookup.size):,} of {len(rows):,} rows have {name} outside the table"
            )
            yield Problem(
                f"{what} ({lookup.setting})",
                split,
                f"{low:,} to {high:,}",
                f"0 to {lookup.size - 1:,}",
                lookup.next_step,
            )


def _affected(rows: Rows, name: str, size: int) -> int:
    """Return how many rows contain an id outside 0 to ``size`` - 1."""
    values = np.asarray(rows.tokens.get(name, rows.columns.get(name)))
    wrong = (values < 0) | (values >= size)
    if name in rows.tokens:
        return int(np.add.reduceat(wrong, rows.offsets[:-1]).astype(bool).sum())
    return int(wrong.reshape(len(rows), -1).any(axis=1).sum())
