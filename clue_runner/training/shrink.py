"""An update that does not fit into memory, and its next smaller cut.

In: updates that were tried, their batches. Out: a token budget.
Knows nothing about engines or states.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from clue_runner.tokens.rows import Array, IntArray
from clue_runner.training.out_of_memory import UpdateTooLargeError, smallest_step_error


class Batches(Protocol):
    """The train batches of a run; ``token_budget``: padded tokens in a micro-batch, where less than set."""

    def plan(self, epoch: int) -> Sequence[IntArray]:
        """Return the rows of each update of an epoch; every epoch has as many updates."""

    def shape(self, epoch: int, indices: IntArray, token_budget: int | None = None) -> tuple[int, int, int]:
        """Return (micro-batches, rows in each, padded length) of one update; nothing is laid out."""

    def arrays(self, epoch: int, indices: IntArray, token_budget: int | None = None) -> Mapping[str, Array]:
        """Return the arrays of one update, each (micro-batches, rows, ...)."""


@dataclass(frozen=True)
class Tried:
    """An update that is to be dispatched: its rows, and the padded tokens in each of its micro-batches."""

    epoch: int
    indices: IntArray
    tokens: int


def smaller_budget(batches: Batches, under_way: Sequence[Tried], problem: UpdateTooLargeError) -> int:
    """Return half the tokens of the largest micro-batch under way.

    Raises:
        OutOfMemoryError: it holds one group already.
    """
    tried = max(under_way, key=lambda one: one.tokens)
    _, rows, length = batches.shape(tried.epoch, tried.indices, tried.tokens // 2)
    if rows * length >= tried.tokens:
        raise smallest_step_error(problem.error, length, training=True)
    return tried.tokens // 2
