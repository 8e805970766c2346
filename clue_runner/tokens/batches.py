"""Batches: which rows go together, in which order, padded to which length.

In: ``Rows`` and numbers (batch size, seed, token budgets). Out: plans (lists of row indices) and the
padded arrays of one update or one prediction batch.

A group (see ``Rows``) is one example; it is never split across updates or micro-batches. The shape of every
array follows from the padded length, the settings and the number of rows, so that with buckets no more than
one shape per bucket is compiled. Padding rows have weight 0 and length 1: attention over a row of length 0
would be 0/0. Knows nothing about tasks or tensors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import numpy as np

from clue_runner.tokens.padding import choose_buckets, padded, padded_length, slots_of_update, smallest_bucket
from clue_runner.tokens.rows import Array, IntArray, Rows

__all__ = [
    "batch_arrays",
    "batch_shape",
    "choose_buckets",
    "epoch_plan",
    "evaluation_plan",
    "padding_share",
    "split_batch",
    "update_arrays",
    "update_shape",
]

Value = TypeVar("Value")

# Updates per pool for sorting by length. A larger pool pads less, a smaller one shuffles better.
_POOL = 64
# A small data set is still cut into several pools; in a single one every epoch would have the same updates.
_POOLS_AT_LEAST = 4
_ORDER_STREAM = 0x6F72646572  # "order": separates this random stream from others of the same seed


def epoch_plan(rows: Rows, *, batch_size: int, seed: int, epoch: int) -> list[IntArray]:
    """Return the row indices of each update of one epoch.

    Every row occurs exactly once. An update holds ``batch_size`` groups, the last one the remainder. The
    order is a pure function of (rows, batch_size, seed, epoch): groups are shuffled, sorted by length
    within pools and cut into updates, which are shuffled in turn.
    """
    groups = _groups(rows)
    generator = np.random.Philox(np.random.SeedSequence([seed, epoch, _ORDER_STREAM]))
    order = _permutation(generator, groups)
    full = groups // batch_size
    if not full:
        return [_rows_of(rows, order)] if groups else []
    # The remainder is drawn before sorting; taken afterwards, it would always be the longest groups.
    body, rest = order[: full * batch_size], order[full * batch_size :]
    pool = max(1, min(_POOL, full // _POOLS_AT_LEAST)) * batch_size
    pool_index = np.arange(len(body)) // pool
    body = body[np.lexsort((rows.group_lengths[body], pool_index))]
    updates = body.reshape(full, batch_size)[_permutation(generator, full)]
    plan = [_rows_of(rows, groups_of_update) for groups_of_update in updates]
    return [*plan, _rows_of(rows, rest)] if len(rest) else plan


def update_shape(
    rows: Rows,
    indices: IntArray,
    *,
    batch_size: int,
    accumulate: int,
    token_budget: int,
    buckets: Sequence[int] | None,
) -> tuple[int, int, int]:
    """Return (micro-batches, rows in each, padded length) of one update.

    ``accumulate`` is the smallest number of micro-batches; ``token_budget`` raises it where a micro-batch
    would hold more padded tokens (a single group is always allowed). A ``batch_size`` above the number of
    groups counts as that number: the rest of every update would be padding.
    """
    batch_size = min(batch_size, max(1, _groups(rows)))
    length = padded_length(rows, indices, buckets)
    fitting = token_budget // (rows.largest_group * length)
    groups = max(1, min(batch_size // accumulate, fitting))
    micro = -(-batch_size // groups)
    groups = -(-batch_size // micro)
    return micro, groups * rows.largest_group, length


def update_arrays(
    rows: Rows,
    indices: IntArray,
    *,
    batch_size: int,
    accumulate: int,
    token_budget: int,
    buckets: Sequence[int] | None,
) -> dict[str, Array]:
    """Return the arrays of one update, each of shape (micro, rows, ...).

    Args:
        rows: the encoded split.
        indices: one element of ``epoch_plan``.
        batch_size: groups in a full update.
        accumulate: the smallest number of micro-batches.
        token_budget: the most padded tokens in one micro-batch.
        buckets: padded lengths to choose from; None pads to the longest row of the update.

    Returns:
        ``token_ids``, ``segment_ids`` and every other token column (micro, rows, length); ``lengths``
        int32; every column of ``rows``; ``weight`` float32, 1 for a row and 0 for padding (its sum is the
        number of rows, which is the number of examples where every group is one row); ``row`` int64, the
        row's index, -1 for padding. Padding rows hold zeros in the columns.
    """
    micro, width, length = update_shape(
        rows,
        indices,
        batch_size=batch_size,
        accumulate=accumulate,
        token_budget=token_budget,
        buckets=buckets,
    )
    slots = slots_of_update(rows, indices, micro, width)
    return {
        name: values.reshape(micro, width, *values.shape[1:])
        for name, values in padded(rows, slots, length).items()
    }


def evaluation_plan(rows: Rows, *, tokens: int, buckets: Sequence[int] | None) -> list[IntArray]:
    """Return the row indices of each prediction batch, longest rows first: what does not fit fails at once.

    Every row occurs exactly once and no group is split; a batch has at most ``tokens`` padded tokens (a
    single group is always allowed). Groups are packed by their number of rows, so that one group of ten does
    not widen the batches of groups of four.
    """
    order = np.argsort(-rows.group_lengths, kind="stable")
    ends = np.cumsum(np.diff(rows.group_starts)[order])
    plan: list[IntArray] = []
    start = 0
    while start < len(order):
        length = smallest_bucket(int(rows.group_lengths[order[start]]), buckets)
        before = int(ends[start - 1]) if start else 0
        stop = int(np.searchsorted(ends, before + _width(rows, tokens, length), side="right"))
        plan.append(_rows_of(rows, order[start:stop]))
        start = stop
    return plan


def batch_shape(
    rows: Rows, indices: IntArray, *, tokens: int, buckets: Sequence[int] | None
) -> tuple[int, int]:
    """Return (rows, padded length) of one prediction batch; without buckets no row is padding."""
    length = padded_length(rows, indices, buckets)
    if buckets is None:
        return len(indices), length
    return _width(rows, tokens, length), length


def batch_arrays(
    rows: Rows, indices: IntArray, *, tokens: int, buckets: Sequence[int] | None
) -> dict[str, Array]:
    """Return the arrays of one prediction batch, each of shape (rows, ...); keys as in ``update_arrays``."""
    width, length = batch_shape(rows, indices, tokens=tokens, buckets=buckets)
    slots = np.full(width, -1, np.int64)
    slots[: len(indices)] = indices
    return padded(rows, slots, length)


def split_batch(
    batch: Mapping[str, Value], host_columns: frozenset[str]
) -> tuple[dict[str, Value], dict[str, Value]]:
    """Return the columns of a batch that the device needs, and those that only the host reads.

    Args:
        batch: from ``update_arrays`` or ``batch_arrays``.
        host_columns: ``Rows.host_columns`` of the rows that the batch was cut from.

    Raises:
        ValueError: the batch lacks a host column, so it was cut from other rows.
    """
    missing = host_columns - batch.keys()
    if missing:
        raise ValueError(f"the batch has no column {', '.join(sorted(missing))}")
    device = {name: values for name, values in batch.items() if name not in host_columns}
    return device, {name: values for name, values in batch.items() if name in host_columns}


def padding_share(
    rows: Rows, plan: Sequence[IntArray], shape: Callable[[IntArray], tuple[int, ...]]
) -> float:
    """Return the fraction of computed tokens that are padding, 0 to 1.

    Args:
        rows: the encoded split.
        plan: row indices of each batch.
        shape: ``update_shape`` or ``batch_shape`` with the settings filled in.
    """
    computed = sum(int(np.prod(shape(indices))) for indices in plan)
    real = sum(int(rows.lengths[indices].sum()) for indices in plan)
    return 1.0 - real / computed if computed else 0.0


def _groups(rows: Rows) -> int:
    return len(rows.group_starts) - 1


def _width(rows: Rows, tokens: int, length: int) -> int:
    """Return the rows of a prediction batch: as many as the tokens allow, at least the largest group.

    Rows beyond the data would be padding. The limit is the next power of two, because every new shape is
    compiled: questions with 5, 6 and 7 passages then share one.
    """
    most = 1 << max(0, len(rows) - 1).bit_length()
    return max(rows.largest_group, min(tokens // length, most))


def _permutation(generator: np.random.Philox, count: int) -> IntArray:
    """Return a permutation made from raw bits, which are the same in every NumPy version."""
    return np.asarray(np.argsort(generator.random_raw(count), kind="stable"), np.int64)


def _rows_of(rows: Rows, groups: IntArray) -> IntArray:
    """Return the row indices of the groups, one group after the other."""
    starts = rows.group_starts[groups]
    sizes = rows.group_starts[groups + 1] - starts
    begins = np.cumsum(sizes) - sizes
    return np.asarray(np.arange(sizes.sum()) + np.repeat(starts - begins, sizes), np.int64)
