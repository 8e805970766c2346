"""``train.batch_size: auto``: resolved to a number before training.

In: a run, its rows, free memory. Out: the same run with numbers, and the reason in words.
Knows nothing about how a step is computed. A resumed run keeps the numbers that it started with.
"""

from __future__ import annotations

from dataclasses import dataclass

from clue_runner.config.schema import Run
from clue_runner.console import file_size
from clue_runner.errors import UsageError
from clue_runner.memory.forecast import counted, on_each
from clue_runner.memory.limits import free_bytes
from clue_runner.memory.network import Network, network_of, require_encoder
from clue_runner.memory.table import AUTO_LARGEST, FREE_SHARE, auto_examples
from clue_runner.tokens.padding import smallest_bucket
from clue_runner.training.network import as_chosen
from clue_runner.training.setup import Setup


@dataclass(frozen=True)
class Resolved:
    """A run whose batch size is a number; ``why`` is None if it was one before."""

    run: Run
    why: str | None = None


def as_begun(run: Run, begun: Run) -> Resolved:
    """Return the run with the numbers of an earlier session: resuming must not depend on free memory.

    The token budget was raised then, if it was changed at all; a larger one now means a different run.
    """
    examples = begun.train.examples
    budget = max(run.train.token_budget, begun.train.token_budget)
    return Resolved(_with(run, examples, budget), f"{examples} examples, with which this run began")


def resolve_examples(setup: Setup) -> Resolved:
    """Return the run with its batch size as a number, and a token budget that lets one micro-batch hold it.

    Raises:
        UsageError: not even one example fits, or the network's memory cannot be forecast.
    """
    run, choices = setup.run, setup.choices
    if run.train.batch_size != "auto":
        return Resolved(run)
    require_encoder(run)
    free = free_bytes(choices.device)
    if free is None:
        raise UsageError(
            "this machine does not report how much memory is free",
            where="train.batch_size",
            received="auto",
            next_step="set train.batch_size to a number",
        )
    train = setup.rows["train"]
    group = train.largest_group
    length = smallest_bucket(int(train.lengths.max(initial=1)), setup.buckets)
    most = max(1, min(AUTO_LARGEST, len(train.group_starts) - 1))
    devices = choices.device.count
    forecast = on_each(counted(network_of_setup(setup)), devices)
    mode = run.model.recompute
    examples = auto_examples(forecast, mode, length, group=group, budget=round(FREE_SHARE * free), most=most)
    if examples == 0:
        raise UsageError(
            f"not even one example of {length} tokens fits",
            where="train.batch_size",
            received=f"auto, {file_size(free)} free",
            next_step="keep less for the backward pass: --set model.recompute=block, or use shorter rows",
        )
    tokens = max(run.train.token_budget, examples * group * length)
    limit = "all examples" if examples == most < AUTO_LARGEST else f"at most {AUTO_LARGEST}"
    raised = f"; train.token_budget raised to {tokens}" if tokens > run.train.token_budget else ""
    on = "" if devices == 1 else f" on each of {devices} devices"
    rows = "" if group == 1 else f"{group} rows of "
    return Resolved(
        _with(run, examples, tokens),
        f"{examples} examples of {rows}{length} tokens at once need "
        f"{file_size(forecast(mode, examples * group, length).total)} of "
        f"{file_size(free)} free{on} ({FREE_SHARE:.0%} may be used, {limit}){raised}",
    )


def network_of_setup(setup: Setup) -> Network:
    """Return the facts that determine how much memory a run's steps need."""
    return network_of(
        as_chosen(setup.run, setup.choices),
        setup.adapter.memory_facts(),
        vocab_size=setup.vocab_size,
        labels=len(setup.card.labels),
        precision=setup.choices.precision.value,
        on_gpu=setup.choices.device.kind == "gpu",
    )


def _with(run: Run, examples: int, token_budget: int) -> Run:
    """Return the run with a batch size and a token budget."""
    numbers = {"batch_size": examples, "token_budget": token_budget}
    return run.model_copy(update={"train": run.train.model_copy(update=numbers)})
