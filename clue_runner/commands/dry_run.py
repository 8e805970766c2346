"""``--dry-run``: what a run would do, found without loading a backend or writing into a run folder.

In: settings, card, data. Out: lines, and the same as one mapping.
Knows nothing about engines.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from clue_runner.adapters.sections import SECTIONS
from clue_runner.commands.expected_time import expected_time
from clue_runner.config.schema import Run
from clue_runner.console import Console, duration, file_size
from clue_runner.data.cards import Card
from clue_runner.data.sources import DataSource
from clue_runner.memory.batch_size import as_begun, network_of_setup, resolve_examples
from clue_runner.memory.guess import guess_choices
from clue_runner.memory.model import Need, step_need
from clue_runner.memory.network import count_weights, is_encoder
from clue_runner.runs.folder import RunFolder, seed_folder
from clue_runner.runs.opening import check_folder
from clue_runner.tokens.batches import epoch_plan, update_shape
from clue_runner.training.loop import total_updates
from clue_runner.training.members import ROOT
from clue_runner.training.prepare import encoding_warnings
from clue_runner.training.setup import Setup, complete, read_inputs


def show_plan(
    run: Run,
    card: Card,
    source: DataSource,
    output: Path,
    console: Console,
    *,
    seeds: int | None,
    fresh: bool,
) -> dict[str, Any]:
    """Report what would be trained, on what, for how long, and what would be written.

    Raises:
        DataError: missing or broken files.
        CheckpointError: the weights or the vocabulary cannot be used, or another run is in the way.
    """
    inputs = read_inputs(run, card, source, console)
    folders = _folders(run, output, seeds)
    setup = complete(inputs, guess_choices(run), console.warn)
    begun = folders[0].run(SECTIONS) if run.train.batch_size == "auto" and not fresh else None
    resolved = as_begun(run, begun) if begun else resolve_examples(setup)
    setup = setup.with_run(resolved.run)
    run = resolved.run
    for number, folder in enumerate(folders):
        one = run.model_copy(update={"seed": run.seed + number})
        check_folder(folder.path, one, inputs.identity, SECTIONS, fresh=fresh)
    plan = figures(setup)
    plan |= {
        "output": str(output),
        "seeds": seeds or 1,
        "finished": not fresh and all(folder.metrics.exists() for folder in folders),
    }
    _say_plan(plan, setup, seeds, resolved.why, console)
    console.say(f"writes       {output}/")
    console.say("nothing was run")
    console.event({"event": "plan", "ok": True, **plan})
    return plan


def _say_plan(
    plan: dict[str, Any], setup: Setup, seeds: int | None, why: str | None, console: Console
) -> None:
    """Print the figures; ``why``: how ``train.batch_size: auto`` was decided."""
    run = setup.run
    weights = "" if plan["weights"] is None else f" (encoder of {plan['weights']:,} weights)"
    console.say(
        f"will train   {setup.card.name} {setup.card.version} with {run.model.name}{weights}, "
        f"{_seeds(run, seeds)}, {run.backend}"
    )
    console.say(
        f"rows         {plan['rows']['train']:,}, longest {plan['longest']} of {run.data.max_length} tokens"
    )
    for text in encoding_warnings(setup.rows):
        console.say(f"             {text}")
    console.say(
        f"steps        {plan['steps_per_epoch']:,} per epoch x {run.train.epochs} epochs"
        f"{f', at most {run.train.max_steps:,}' if run.train.max_steps else ''} = {plan['steps']:,} "
        f"of {run.train.examples} examples"
    )
    if why is not None:
        console.say(f"             batch size auto, as of now: {why}")
    if plan["memory_bytes"] is not None:
        console.say(
            f"memory       about {file_size(plan['memory_bytes'])} for training, of which a step "
            f"{file_size(plan['step_bytes'])} (forecast; more: clue memory)"
        )
    if plan["seconds"] is not None:
        console.say(
            f"time         about {duration(plan['seconds'])}{' for each seed' if seeds else ''} "
            f"after start-up, at the speed of {plan['rates_of']}"
        )
    else:
        console.say("time         unknown: no finished run of this network on this machine under runs/")


def _folders(run: Run, output: Path, seeds: int | None) -> list[RunFolder]:
    """Return the folders that would be written, one for each seed."""
    if seeds is None:
        return [RunFolder(output)]
    return [seed_folder(output, run.seed + number) for number in range(seeds)]


def figures(setup: Setup, roots: Sequence[Path] = (ROOT,)) -> dict[str, Any]:
    """Return what a run will take.

    Args:
        setup: the run, with a numeric batch size.
        roots: folders of earlier runs, whose speed gives the time; the first that has one counts.
    """
    run = setup.run
    train = setup.adapter.epoch_rows(setup.rows["train"], run.seed, 0)
    steps = len(epoch_plan(train, batch_size=run.train.examples, seed=run.seed, epoch=0))
    need = _need(setup)
    total = total_updates(run.train, steps)
    times = (expected_time(setup, total, steps, root) for root in roots)
    time = next((found for found in times if found is not None), None)
    return {
        "task": setup.card.name,
        "model": run.model.name,
        "weights": count_weights(run.model, setup.vocab_size, labels=0) if is_encoder(run) else None,
        "rows": {split: len(rows) for split, rows in setup.rows.items()},
        "notes": {split: counts for split, counts in setup.notes.items() if counts},
        "longest": int(train.lengths.max(initial=0)),
        "steps_per_epoch": steps,
        "steps": total,
        "batch_size": run.train.examples,
        "memory_bytes": None if need is None else need.total,
        "step_bytes": None if need is None else need.step,
        "seconds": None if time is None else round(time.seconds, 1),
        "rates_of": None if time is None else str(time.run),
        "data_complete": setup.data.complete,
    }


def _need(setup: Setup) -> Need | None:
    """Return the forecast for the largest micro-batch; None for a network without a forecast."""
    run = setup.run
    if not is_encoder(run):
        return None
    train = setup.adapter.epoch_rows(setup.rows["train"], run.seed, 0)
    shapes = [
        update_shape(
            train,
            indices,
            batch_size=run.train.examples,
            accumulate=run.train.accumulate,
            token_budget=run.train.token_budget,
            buckets=setup.buckets,
        )
        for indices in epoch_plan(train, batch_size=run.train.examples, seed=run.seed, epoch=0)
    ]
    network = network_of_setup(setup)
    needs = [step_need(network, rows, length, run.model.recompute) for _, rows, length in set(shapes)]
    return max(needs, key=lambda need: need.total)


def _seeds(run: Run, seeds: int | None) -> str:
    """Return the seeds in words."""
    return f"seed {run.seed}" if seeds is None else f"seeds {run.seed} to {run.seed + seeds - 1}"
