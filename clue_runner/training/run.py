"""One run from files to a checked submission; the same call again continues it or shows its result.

read -> look at the folder -> encode -> start the engine -> resume -> train -> predict -> write results

In: settings, a card, a data source, a folder. Out: a ``RunResult``.
Everything that can fail cheaply fails before a backend is loaded, also where memory is to say the batch size.
Knows nothing about argv.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from clue_runner.adapters.base import load_adapter, own_network
from clue_runner.architectures.check_ids import check_ids
from clue_runner.architectures.settings import shape_of
from clue_runner.checkpoints.checkpoint import Checkpoint
from clue_runner.config.loader import config_hash
from clue_runner.config.schema import Run
from clue_runner.console import Console
from clue_runner.data.cards import Card
from clue_runner.data.sources import DataSource
from clue_runner.errors import ClueError, InterruptedRunError
from clue_runner.files.atomic import remove
from clue_runner.memory.batch_size import Resolved, as_begun, buckets_of, resolve_examples
from clue_runner.runs.events import EventLog, Failed, Result, Resume, Start, Warned
from clue_runner.runs.folder import RunFolder, open_folder, write_settings
from clue_runner.runs.machine import machine, machine_differences, package_versions
from clue_runner.runs.measure import program_commit
from clue_runner.runs.progress import Progress
from clue_runner.runs.results import RunResult, failed_result, run_fields, write_result
from clue_runner.runs.resume import newest_state
from clue_runner.runs.snapshots import Snapshot, repoint
from clue_runner.tokens.tokenizer import Tokenizer
from clue_runner.training.display import LoopDisplay, say_data, say_machine, say_result, say_weights
from clue_runner.training.finish import finish
from clue_runner.training.job import Job, TrainBatches
from clue_runner.training.loop import Hooks, Loop
from clue_runner.training.network import (
    Choices,
    choose,
    load_pretrained,
    open_checkpoint,
    open_tokenizer,
    start_engine,
)
from clue_runner.training.out_of_memory import memory_faults
from clue_runner.training.prepare import SplitData, encode_splits, read_splits
from clue_runner.training.signals import Signals


@dataclass(frozen=True)
class Inputs:
    """What a run is made from, read and checked; no backend is loaded yet."""

    run: Run
    card: Card
    source: DataSource
    data: SplitData
    checkpoint: Checkpoint | None
    tokenizer: Tokenizer

    @property
    def vocab_size(self) -> int:
        """Return the rows of the word table."""
        return self.checkpoint.vocab_size if self.checkpoint else self.tokenizer.vocab_size

    def result_fields(self) -> dict[str, Any]:
        """Return what a result says before anything was measured."""
        return run_fields(
            self.run,
            task=self.card.name,
            card_version=self.card.version,
            metric=self.card.metric,
            checkpoint_sha256=self.checkpoint.sha256 if self.checkpoint else None,
            data_sha256=self.data.sha256,
            versions=package_versions(self.run.backend),
            commit=program_commit(),
        )


def read_inputs(run: Run, card: Card, source: DataSource, console: Console) -> Inputs:
    """Read and check data, checkpoint and vocabulary, and say what is unusual about them.

    Raises:
        DataError: missing or broken files.
        CheckpointError: the pretrained weights or the vocabulary cannot be used.
    """
    say_weights(console, run)
    data = read_splits(card, source, run)
    say_data(console, card, source, data)
    checkpoint = open_checkpoint(run)
    for notice in checkpoint.notices if checkpoint else ():
        console.warn(notice)
    own = own_network(load_adapter(card, run))
    tokenizer = own.make_tokenizer(data.records, run) if own else open_tokenizer(run, checkpoint)
    return Inputs(run, card, source, data, checkpoint, tokenizer)


def train(
    run: Run,
    card: Card,
    source: DataSource,
    output: Path,
    console: Console,
    *,
    fresh: bool = False,
    data_argument: str | None = None,
) -> RunResult:
    """Train, keep the best, predict and write; return what ``metrics.json`` holds.

    Args:
        run: the resolved settings.
        card: the task.
        source: its files.
        output: the run folder.
        console: where to speak.
        fresh: move an old run in ``output`` aside first.
        data_argument: what the user gave as ``--data``, for ``clue predict``.

    Raises:
        ClueError: every user mistake and every failure that a user can act on.
    """
    began = time.monotonic()
    with ExitStack() as stack:
        signals = stack.enter_context(Signals(console.warn))
        inputs = read_inputs(run, card, source, console)
        if not fresh:
            inputs = _as_begun(inputs, output, console)
        identity = {**inputs.data.sha256, "vocabulary": inputs.tokenizer.sha256}
        folder, lock = open_folder(output, inputs.run, identity, fresh=fresh)
        stack.enter_context(lock)
        earlier = folder.result()
        if earlier is not None and earlier.ok:
            return _show_finished(console, card, folder, earlier)
        choices = choose(inputs.run)  # what it refuses must leave no run.yaml behind: settings will change
        inputs = _with_number(inputs, choices, console)
        run = inputs.run
        snapshot = newest_state(folder.checkpoints, console.warn)
        remove(folder.metrics)  # of a run that failed and is tried again
        write_settings(folder, run)
        log = stack.enter_context(EventLog(folder.events, console))
        _note_start(log, inputs, snapshot, data_argument)
        try:
            with memory_faults():
                job = _start(inputs, choices, folder, snapshot, log, console, signals, began)
                _train(job)
                result = finish(job, inputs.source, inputs.result_fields())
        except InterruptedRunError as error:
            log.write(Failed(message=str(error), exit_code=error.exit_code), echo=False)
            raise
        except Exception as error:
            _write_failure(folder, inputs, log, error)
            raise
        say_result(console, result, card, folder.path)
        log.write(Result.model_validate(result.to_json()))
        return result


def _as_begun(inputs: Inputs, output: Path, console: Console) -> Inputs:
    """Put the number that a run in the folder began with in the place of ``train.batch_size: auto``."""
    begun = RunFolder(output).run() if inputs.run.train.batch_size == "auto" else None
    return inputs if begun is None else _numbered(inputs, as_begun(inputs.run, begun), console)


def _with_number(inputs: Inputs, choices: Choices, console: Console) -> Inputs:
    """Put the number that memory allows in the place of ``train.batch_size: auto``."""
    run = inputs.run
    if run.train.batch_size != "auto":
        return inputs
    material = encode_splits(inputs.card, inputs.data, inputs.tokenizer, run, console.warn)
    return _numbered(inputs, resolve_examples(run, material, inputs.vocab_size, choices), console)


def _numbered(inputs: Inputs, resolved: Resolved, console: Console) -> Inputs:
    """Take the run with its number and say why that one."""
    console.say(f"train.batch_size auto: {resolved.why}")
    return replace(inputs, run=resolved.run)


def _show_finished(console: Console, card: Card, folder: RunFolder, result: RunResult) -> RunResult:
    """Say what an earlier run of the same command found."""
    console.say(f"this run has already ended: {folder.path}")
    say_result(console, result, card, folder.path)
    console.event({"event": "result", **result.to_json()})
    return result


def _note_start(log: EventLog, inputs: Inputs, snapshot: Snapshot | None, data_argument: str | None) -> None:
    """Write the start event, or the resume event that supersedes what came after the saved step."""
    again = snapshot is not None or log.path.stat().st_size > 0
    log.write(
        (Resume if again else Start)(
            step=snapshot.step if snapshot else 0,
            task=inputs.card.name,
            card_version=inputs.card.version,
            model=inputs.run.model.name,
            seed=inputs.run.seed,
            backend=inputs.run.backend,
            data=data_argument,
            data_sha256=inputs.data.sha256,
            config_sha256=config_hash(inputs.run),
        )
    )
    for text in inputs.data.warnings:
        log.write(Warned(message=text), echo=False)


def _start(
    inputs: Inputs,
    choices: Choices,
    folder: RunFolder,
    snapshot: Snapshot | None,
    log: EventLog,
    console: Console,
    signals: Signals,
    began: float,
) -> Job:
    """Encode, build the network, and put a saved state into it."""
    run = inputs.run
    material = encode_splits(inputs.card, inputs.data, inputs.tokenizer, run, console.warn)
    check_ids(shape_of(run.model), inputs.vocab_size, material.rows)
    buckets = buckets_of(run, material, choices)
    vocab_size = inputs.vocab_size
    start = partial(
        start_engine,
        run,
        inputs.card,
        material.adapter,
        choices,
        vocab_size=vocab_size,
    )
    engine = start()
    progress = Progress() if snapshot is None else Progress.from_json(snapshot.state["progress"])
    job = Job(
        run, material, folder, engine, choices, buckets, progress, log, console, signals, vocab_size, began
    )

    def begin() -> None:
        """Give the engine its first weights again."""
        start(engine=engine)
        _load_first(job, inputs.checkpoint)

    job.begin = begin
    say_machine(console, run, choices, folder)
    if snapshot is not None:
        _resume(job, snapshot)
    else:
        _load_first(job, inputs.checkpoint)
    job.prepared = time.monotonic() - began
    return job


def _load_first(job: Job, checkpoint: Checkpoint | None) -> None:
    """Put pretrained weights, where there are any, in the place of the random ones."""
    if checkpoint is not None:
        for name in load_pretrained(job.engine, checkpoint):
            job.warn(f"{name} is not in the checkpoint and starts from random weights")


def _resume(job: Job, snapshot: Snapshot) -> None:
    """Put a saved state back and say from where the run goes on."""
    job.engine.set_state(snapshot.tensors())
    repoint(job.folder.checkpoints, snapshot, job.progress.best_step)
    now: Mapping[str, Any] = {**machine(job.run.backend), **job.choices.described()}
    for change in machine_differences(snapshot.state["machine"], now):
        job.warn(f"resuming elsewhere, the last bits of the result may differ: {change}")
    where = (
        "after training" if job.progress.ended else f"at epoch {job.progress.epoch + 1}, step {snapshot.step}"
    )
    job.console.say(f"resuming {job.folder.path} {where} (same data order, same dropout)")


def _train(job: Job) -> None:
    """Run the loop to its end."""
    if job.progress.ended is not None:
        job.signals.defer()  # nothing is lost from here on, but what is being written shall be whole
        return
    batches = TrainBatches(job.material, job.run, job.buckets)
    with LoopDisplay(job.console, job.run, job.material.card) as display:
        hooks = Hooks(
            job.evaluate, job.save, job.log.write, display.show, job.drop, warn=job.warn, reload=job.reload
        )
        loop = Loop(job.engine, batches, job.run.train, job.progress, hooks, job.signals)
        display.start(loop.total)
        loop.run()


def _write_failure(folder: RunFolder, inputs: Inputs, log: EventLog, error: Exception) -> None:
    """Leave a result without a score, so that nobody takes the run for a finished one."""
    try:
        result = failed_result(inputs.result_fields(), error)
        write_result(folder.metrics, result)
        code = result.error.exit_code if result.error else 1
        log.write(Failed(message=str(error), exit_code=code), echo=False)
    except (ClueError, MemoryError):
        return  # what refuses the note, a full disk or no memory, is the error that is on its way to the user
