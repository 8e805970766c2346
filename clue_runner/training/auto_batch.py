"""``train.batch_size: auto``: a number before anything is trained.

In: a run, its rows, free memory. Out: the same run with a number, and in words why that one.
Knows nothing about how a step is computed. A run that goes on keeps the number that it began with.
"""

from __future__ import annotations

from dataclasses import dataclass

from clue_runner.config.schema import Run
from clue_runner.errors import UsageError
from clue_runner.training.devices import Device, choose_precision
from clue_runner.training.memory_limits import free_bytes
from clue_runner.training.memory_model import Need, Network, network_of, require_encoder, step_need
from clue_runner.training.memory_plan import AUTO_LARGEST, AUTO_SHARE, handy, largest_rows
from clue_runner.training.prepare import Material

GIB = 2**30


@dataclass(frozen=True)
class Resolved:
    """A run whose batch size is a number; ``why`` is None where it was one before."""

    run: Run
    why: str | None = None


def with_examples(run: Run, examples: int) -> Run:
    """Return the run with a batch size."""
    return run.model_copy(update={"train": run.train.model_copy(update={"batch_size": examples})})


def as_begun(run: Run, begun: Run) -> Resolved:
    """Return the run with the number of an earlier sitting: going on must not depend on free memory."""
    examples = begun.train.examples
    return Resolved(with_examples(run, examples), f"{examples} examples, with which this run began")


def resolve_examples(run: Run, material: Material, vocab_size: int, device: Device) -> Resolved:
    """Return the run with its batch size as a number.

    Args:
        run: the settings.
        material: rows of the train split, for their number, their length and rows in an example.
        vocab_size: rows of the word table.
        device: where the run computes.

    Raises:
        UsageError: not even one example fits, or the network is not one whose need is known.
    """
    if run.train.batch_size != "auto":
        return Resolved(run)
    require_encoder(run)
    train = material.rows["train"]
    network = network_of_run(run, material, vocab_size, device)
    free = free_bytes(device)
    cap = max(1, min(AUTO_LARGEST, len(train.group_starts) - 1))
    length = min(int(train.lengths.max(initial=1)), run.data.max_length)
    if free is None:
        raise UsageError(
            "this machine does not say how much memory is free",
            where="train.batch_size",
            received="auto",
            next_step="set train.batch_size to a number",
        )
    budget = round(AUTO_SHARE * free)

    def need(mode: str, examples: int, length: int) -> Need:
        """Return what so many examples need at once."""
        return step_need(network, examples * train.largest_group, length, mode)

    rows = largest_rows(need, run.model.recompute, length, budget, cap)
    if rows == 0:
        raise UsageError(
            f"not even one example of {length} tokens fits",
            where="train.batch_size",
            received=f"auto, {free / GIB:.1f} GiB free",
            next_step="keep less for the backward pass: --set model.recompute=block, or take shorter rows",
        )
    examples = cap if rows == cap else handy(rows)
    limit = "as many as there are" if cap < AUTO_LARGEST and rows == cap else f"at most {AUTO_LARGEST}"
    return Resolved(
        with_examples(run, examples),
        f"{examples} examples of {length} tokens at once need "
        f"{need(run.model.recompute, examples, length).total / GIB:.1f} GiB of "
        f"{free / GIB:.1f} GiB free ({AUTO_SHARE:.0%} may be used, {limit})",
    )


def network_of_run(run: Run, material: Material, vocab_size: int, device: Device) -> Network:
    """Return the facts that the need of a run's steps follows from."""
    card = material.card
    precision = choose_precision(run.train.precision, device).value
    return network_of(run, card.adapter, vocab_size=vocab_size, labels=len(card.labels), precision=precision)
