"""Recovers from an exhausted memory: the update is split into smaller micro-batches and repeated.

In: a loop. Out: the same loop, run to its end. Every update keeps its examples; only the split changes.
Knows nothing about what an update computes, or about how much memory there is.
"""

from __future__ import annotations

from collections.abc import Sequence

from clue_runner.training.loop import Batches, Loop, Update
from clue_runner.training.out_of_memory import UpdateTooLargeError, is_out_of_memory, smallest_step_error


def train(loop: Loop) -> None:
    """Run the loop to its end; if an update does not fit into memory, halve the micro-batches and continue.

    Raises:
        OutOfMemoryError: one example at a time does not fit.
        ClueError: as ``Loop.run``.
    """
    while True:
        try:
            loop.run()
        except UpdateTooLargeError as caught:
            problem = caught
        else:
            return
        _go_on_smaller(loop, problem)


def _go_on_smaller(loop: Loop, problem: UpdateTooLargeError) -> None:
    """Find a whole state after an update that did not fit, and halve the micro-batches from there on."""
    step, under_way = loop.progress.step, loop.under_way
    if not under_way:
        raise problem.error
    budget = smaller_budget(loop.batches, under_way, problem)
    loop.read_what_can_be_read(is_out_of_memory)
    if not loop.state_agrees():
        loop.progress.become(loop.hooks.reload())
        loop.stand()
    loop.progress.token_budget = budget
    loop.hooks.warn(
        f"out of memory at step {step}: continuing from step {loop.progress.step} with at most {budget:,} "
        "tokens in a micro-batch; every update keeps its examples",
        step=loop.progress.step,
        token_budget=budget,
    )


def smaller_budget(batches: Batches, under_way: Sequence[Update], problem: UpdateTooLargeError) -> int:
    """Return half the tokens of the largest micro-batch under way.

    Raises:
        OutOfMemoryError: it holds one group already.
    """
    largest = max(under_way, key=lambda update: update.tokens)
    _, rows, length = batches.shape(largest.epoch, largest.indices, largest.tokens // 2)
    if rows * length >= largest.tokens:
        raise smallest_step_error(problem.error, length, training=True)
    return largest.tokens // 2
