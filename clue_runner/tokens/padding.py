"""Padded lengths, and rows padded to one of them.

In: ``Rows``, a padded length, a row index for every slot. Out: the padded arrays.
Knows nothing about plans, tasks or tensors; no Python loop over rows.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from clue_runner.tokens.rows import Array, IntArray, Rows

_MOST_CANDIDATES = 1024  # lengths that choose_buckets compares
_RESERVED = frozenset({"token_ids", "segment_ids", "lengths", "weight", "row"})


def choose_buckets(
    lengths: Sequence[int] | IntArray, max_length: int, count: int = 4, multiple: int = 8
) -> tuple[int, ...]:
    """Return the padded lengths, at most ``count`` of them, that add the least padding to these rows.

    Args:
        lengths: tokens in each row of the data.
        max_length: the last bucket, whether or not a row is that long (rows of another split may be).
        count: the largest number of buckets.
        multiple: every bucket but the last is a multiple of this.

    Raises:
        ValueError: a row is longer than ``max_length``.
    """
    values = np.asarray(lengths, np.int64)
    if values.max(initial=0) > max_length:
        raise ValueError(f"a row of {values.max()} tokens does not fit the last bucket, {max_length}")
    sizes = _candidates(values, max_length, multiple)
    rows_up_to = np.searchsorted(np.sort(values), sizes, side="right")
    # cost[j]: padded tokens of all rows of length <= sizes[j], with the buckets so far and j as the last one
    cost = (sizes * rows_up_to).astype(np.float64)
    chosen: list[IntArray] = []
    steps = [float(cost[-1])]
    for _ in range(min(count, len(sizes)) - 1):
        added = sizes[None, :] * (rows_up_to[None, :] - rows_up_to[:, None])
        table = np.where(np.tri(len(sizes), k=-1, dtype=bool).T, cost[:, None] + added, np.inf)
        chosen.append(table.argmin(axis=0))
        cost = table.min(axis=0)
        steps.append(float(cost[-1]))
    used = int(np.argmin(steps))  # the fewest buckets that reach the least cost
    last = len(sizes) - 1
    picked = [last]
    for previous in reversed(chosen[:used]):
        last = int(previous[last])
        picked.append(last)
    return tuple(int(sizes[index]) for index in reversed(picked))


def _candidates(lengths: IntArray, max_length: int, multiple: int) -> IntArray:
    """Return every padded length that may be among the best: those to which some row is rounded up.

    The search takes memory by the square of their number, so very long rows are rounded more coarsely.
    """
    while True:
        rounded = np.minimum(-(-lengths // multiple) * multiple, max_length)
        sizes = np.unique(np.append(rounded, max_length))
        if len(sizes) <= _MOST_CANDIDATES:
            return sizes
        multiple *= 2


def smallest_bucket(length: int, buckets: Sequence[int] | None) -> int:
    """Return the smallest bucket that holds ``length`` tokens."""
    if buckets is None:
        return length
    position = int(np.searchsorted(buckets, length))
    if position == len(buckets):
        raise ValueError(f"a row of {length} tokens fits no bucket of {tuple(buckets)}")
    return int(buckets[position])


def padded_length(rows: Rows, indices: IntArray, buckets: Sequence[int] | None) -> int:
    """Return the length to which a batch of these rows is padded."""
    return smallest_bucket(int(rows.lengths[indices].max()), buckets)


def slots_of_update(rows: Rows, indices: IntArray, micro: int, width: int) -> IntArray:
    """Return (micro * width,) row indices, -1 for padding; no group is split across micro-batches."""
    groups_in_micro = width // rows.largest_group
    group = rows.group[indices]
    new_group = np.concatenate(([0], np.diff(group) != 0)).cumsum()
    micro_of_row = new_group // groups_in_micro
    if micro_of_row[-1] >= micro:
        raise ValueError(f"{new_group[-1] + 1} groups do not fit {micro} micro-batches of {groups_in_micro}")
    first_of_micro = np.searchsorted(micro_of_row, np.arange(micro))
    place = np.arange(len(indices)) - first_of_micro[micro_of_row]
    slots = np.full(micro * width, -1, np.int64)
    slots[micro_of_row * width + place] = indices
    return slots


def padded(rows: Rows, slots: IntArray, length: int) -> dict[str, Array]:
    """Return the rows in ``slots`` as padded arrays; -1 stands for a padding row of one token.

    Where the rows have a ``draw``, the arrays are what it makes of them.
    """
    clash = _RESERVED & rows.columns.keys()
    if clash:
        raise ValueError(f"reserved names of columns: {', '.join(sorted(clash))}")
    real = slots >= 0
    source = np.where(real, slots, slots[0])
    lengths = np.where(real, rows.lengths[source], 1)
    target = np.arange(lengths.sum()) + np.repeat(
        np.arange(len(slots)) * length - (np.cumsum(lengths) - lengths), lengths
    )
    origin = target + np.repeat(rows.offsets[source] - np.arange(len(slots)) * length, lengths)
    arrays: dict[str, Array] = {}
    for name, values in rows.tokens.items():
        flat = np.zeros(len(slots) * length, values.dtype)
        flat[target] = values[origin]
        arrays[name] = flat.reshape(len(slots), length)
    for name, values in rows.columns.items():
        column = np.zeros((len(slots), *values.shape[1:]), values.dtype)
        column[real] = values[slots[real]]
        arrays[name] = column
    arrays["lengths"] = lengths.astype(np.int32)
    arrays["weight"] = real.astype(np.float32)
    arrays["row"] = slots
    return arrays if rows.draw is None else rows.draw(arrays)
