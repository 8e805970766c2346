"""How TensorFlow's variables are updated in place: completely, by a fused kernel, or only a table's rows.

In: variables, gradients, what an update does to each weight. Out: operations that write the next values;
copies of a table on the host.
Knows nothing about networks, micro-batches or traces.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from clue_runner.engines.rules.base import UpdateRule
from clue_runner.engines.techniques.base import Slices
from clue_runner.engines.update import Move
from clue_runner.tokens.rows import Array

PIECE = 1024  # rows of a table that are copied at once

Slots = dict[str, Any]
Kernel = Callable[[str, Any, Any, Slots, Move], None]


def kernel_of(rule: UpdateRule) -> Kernel:
    """Return what moves a whole weight (name, weight, gradient, slots, move) by a rule."""
    # what the rule's parent has a kernel for is not the rule's own arithmetic
    return _KERNELS.get(str(vars(type(rule)).get("kernel")), _plain)


def _plain(name: str, weight: Any, gradient: Any, slots: Slots, move: Move) -> None:
    """The rule's own arithmetic."""
    stepped, kept = move.whole(name, weight, gradient, slots)
    weight.assign(stepped)
    for slot, values in kept.items():
        slots[slot].assign(values)


def _adam(name: str, weight: Any, gradient: Any, slots: Slots, move: Move) -> None:
    """Adam in one pass over the memory; it rounds otherwise than the rule's own arithmetic."""
    factor, settings = move.decay(name), move.rule(name).settings
    if factor is not None:
        weight.assign(weight * factor)
    tf.raw_ops.ResourceApplyAdam(
        var=weight.handle,
        m=slots["momentum"].handle,
        v=slots["velocity"].handle,
        beta1_power=tf.pow(settings.beta_1, move.count),
        beta2_power=tf.pow(settings.beta_2, move.count),
        lr=move.rate(name),
        beta1=settings.beta_1,
        beta2=settings.beta_2,
        epsilon=settings.epsilon,
        grad=gradient * move.scale,
    )


_KERNELS: dict[str, Kernel] = {"adam": _adam}


def move_rows(name: str, weight: Any, gradient: Slices, slots: Slots, move: Move, used: Any) -> None:
    """Decay all rows of a lookup table in place and step those that were ever read.

    Rows that never had a gradient need no step (see ``UpdateRule``); most of a vocabulary is such.
    A variable whose rows are written is copied by every whole read and assignment, so neither is done.

    Args:
        name: of the table.
        weight: the table, (rows, width).
        gradient: its gradient, each row once.
        slots: what the rule keeps, each of the table's shape.
        move: what the update does.
        used: (rows,) bool variable: the rows that were ever read; this update's are added.
    """
    read = tf.ones_like(gradient.rows, tf.bool)
    marked = tf.tensor_scatter_nd_update(used.read_value(), gradient.rows[:, None], read)
    used.assign(marked)
    rows = tf.where(marked)[:, 0]
    place = tf.gather(tf.cumsum(tf.cast(marked, tf.int32)) - 1, gradient.rows)
    shape = tf.stack([tf.shape(rows)[0], weight.shape[1]])
    values = tf.scatter_nd(place[:, None], gradient.values, shape)
    factor = move.decay(name)
    if factor is not None:
        every = tf.range(weight.shape[0])
        tf.raw_ops.ResourceScatterMul(resource=weight.handle, indices=every, updates=factor)
    kept = {slot: tf.gather(variable, rows) for slot, variable in slots.items()}
    stepped, kept = move.step(name, tf.gather(weight, rows), values, kept)
    for variable, new in [(weight, stepped), *((slots[slot], new) for slot, new in kept.items())]:
        tf.raw_ops.ResourceScatterUpdate(resource=variable.handle, indices=rows, updates=new)


def copy_rows(variable: Any, values: Array) -> None:
    """Copy a table whose rows are written into an array on the host, piece by piece.

    Every whole read of such a table copies it once more (see ``move_rows``), into memory that the system must
    first provide; pieces pass through the same few megabytes.
    """
    for start in range(0, len(values), PIECE):
        piece = values[start : start + PIECE]
        np.copyto(piece, tf.gather(variable, tf.range(start, start + len(piece))))


def slices_of(gradient: Any) -> Slices:
    """Return a table's gradient by rows, all of them where it is no sum of rows that were looked up."""
    if isinstance(gradient, tf.IndexedSlices):
        values = tf.reshape(gradient.values, [-1, gradient.values.shape[-1]])
        return Slices(values, tf.cast(tf.reshape(gradient.indices, [-1]), tf.int32))
    return Slices(gradient, tf.range(gradient.shape[0]))


def by_row(slices: Slices) -> Slices:
    """Return the slices with those of equal rows summed, each row once, in the order of its first slice."""
    rows, place = tf.unique(slices.rows)
    return Slices(tf.math.unsorted_segment_sum(slices.values, place, tf.shape(rows)[0]), rows)


class SliceList(NamedTuple):
    """Slices of all micro-batches, which may differ in number."""

    values: Any
    rows: Any

    @classmethod
    def empty(cls, count: Any, width: int) -> SliceList:
        """Return room for ``count`` micro-batches of slices of ``width``."""
        shared: dict[str, Any] = {"size": count, "infer_shape": False}
        values = tf.TensorArray(tf.float32, element_shape=[None, width], **shared)
        return cls(values, tf.TensorArray(tf.int32, element_shape=[None], **shared))

    def write(self, index: Any, slices: Slices) -> SliceList:
        """Return the list with the slices of micro-batch ``index``."""
        return SliceList(self.values.write(index, slices.values), self.rows.write(index, slices.rows))

    def joined(self) -> Slices:
        """Return all slices as one, in the order of the micro-batches."""
        return Slices(self.values.concat(), self.rows.concat())
