"""An update that does not fit into memory: told apart from other failures, and its next smaller split.

In: updates that were tried, their batches. Out: an exception of our own; a token budget.
Knows nothing about engines or states.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from clue_runner.tokens.rows import Array, IntArray
from clue_runner.training.memory import is_out_of_memory, smallest_step_error


class Batches(Protocol):
    """The train batches of a run."""

    def plan(self, epoch: int) -> Sequence[IntArray]:
        """Return the rows of each update of an epoch; every epoch has as many updates."""

    def arrays(self, epoch: int, indices: IntArray, token_budget: int | None = None) -> Mapping[str, Array]:
        """Return the arrays of one update, each (micro-batches, rows, ...).

        ``token_budget``: padded tokens in a micro-batch at most, where less than the settings allow.
        """


@dataclass(frozen=True)
class Tried:
    """An update that is to be dispatched: its rows, and the padded tokens in each of its micro-batches."""

    epoch: int
    indices: IntArray
    tokens: int


class NoMemoryError(Exception):
    """An update, and nothing else, did not fit into memory."""

    def __init__(self, error: Exception) -> None:
        """Keep what the backend said, without its frames: they hold the arrays that did not fit."""
        super().__init__(str(error))
        self.error = error.with_traceback(None)


@contextmanager
def update_faults() -> Iterator[None]:
    """Tell "this update did not fit" from every other failure."""
    try:
        yield
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise NoMemoryError(error) from None


def smaller_budget(batches: Batches, under_way: Sequence[Tried], problem: NoMemoryError) -> int:
    """Return half the tokens of the largest micro-batch under way.

    Raises:
        OutOfMemoryError: it holds one group already.
    """
    tried = max(under_way, key=lambda one: one.tokens)
    _, rows, length = batches.arrays(tried.epoch, tried.indices, tried.tokens // 2)["token_ids"].shape
    if rows * length >= tried.tokens:
        raise smallest_step_error(problem.error, length)
    return tried.tokens // 2
