"""One run from its setup to a checked submission: start or resume, train, predict, write results.

In: a setup, a locked run folder. Out: the result, as ``metrics.json`` holds it.
The same call continues an interrupted run. Knows nothing about argv, or about where settings came from.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from clue_runner.config.loader import config_hash
from clue_runner.console import Console
from clue_runner.console.signals import Signals
from clue_runner.errors import ClueError, InterruptedRunError
from clue_runner.runs.events import EventLog, Failed, Result, Resume, Start, Warned
from clue_runner.runs.folder import RunFolder
from clue_runner.runs.machine import machine, machine_differences
from clue_runner.runs.results import RunResult, failed_result, write_result
from clue_runner.runs.snapshots import repoint
from clue_runner.runs.states import Snapshot
from clue_runner.training import smaller_updates
from clue_runner.training.display import say_machine
from clue_runner.training.finish import finish, result_fields
from clue_runner.training.job import Job, TrainBatches, progress_of
from clue_runner.training.loop import Hooks, Loop
from clue_runner.training.out_of_memory import memory_faults
from clue_runner.training.prepare import encoding_warnings
from clue_runner.training.setup import Setup


@dataclass(frozen=True)
class Sitting:
    """The state that one process brings to a run, whether new or resumed.

    Args:
        console: where to print.
        signals: checked between updates and batches.
        began: monotonic clock at the command's start.
        data_argument: what the user gave as ``--data``, for later commands.
    """

    console: Console
    signals: Signals
    began: float
    data_argument: str | None = None


def train(setup: Setup, folder: RunFolder, snapshot: Snapshot | None, sitting: Sitting) -> RunResult:
    """Train from ``snapshot`` or from the beginning, keep the best, predict and write everything.

    Args:
        setup: everything before the first step; its batch size is a number.
        folder: locked by the caller.
        snapshot: the saved state to continue from; None: none was ever saved.
        sitting: this process.

    Raises:
        ClueError: every failure that a user can act on; ``metrics.json`` then records it, without a score.
    """
    with EventLog(folder.events, sitting.console) as log:
        _note_start(log, setup, snapshot, sitting)
        try:
            with memory_faults():
                job = _start(setup, folder, snapshot, log, sitting)
                with job.display, job.writer:
                    _train(job)
                    result = finish(job)
        except InterruptedRunError as error:
            log.write(Failed(message=str(error), exit_code=error.exit_code), echo=False)
            raise
        except Exception as error:
            _write_failure(folder, setup, log, error)
            raise
        log.write(Result.model_validate(result.to_json()))
        return result


def _note_start(log: EventLog, setup: Setup, snapshot: Snapshot | None, sitting: Sitting) -> None:
    """Write the start event, or the resume event that supersedes what came after the saved step."""
    again = snapshot is not None or log.path.stat().st_size > 0
    kind = Resume if again else Start
    log.write(
        kind(
            step=snapshot.step if snapshot else 0,
            task=setup.card.name,
            card_version=setup.card.version,
            model=setup.run.model.name,
            seed=setup.run.seed,
            backend=setup.run.backend,
            devices=setup.choices.device.count,
            data=sitting.data_argument,
            data_sha256=setup.data.sha256,
            config_sha256=config_hash(setup.run),
        )
    )
    for text in setup.data.warnings:
        log.write(Warned(message=text), echo=False)
    for text in encoding_warnings(setup.rows):
        sitting.console.warn(text)
        log.write(Warned(message=text), echo=False)


def _start(
    setup: Setup, folder: RunFolder, snapshot: Snapshot | None, log: EventLog, sitting: Sitting
) -> Job:
    """Build the network, and load a saved state or the initial weights."""
    engine = setup.start_engine()
    job = Job(
        setup, folder, engine, progress_of(snapshot), log, sitting.console, sitting.signals, sitting.began
    )
    say_machine(sitting.console, setup.run, setup.choices, folder)
    if snapshot is not None:
        _resume(job, snapshot)
    else:
        job.load_pretrained()
    if setup.checkpoint is not None:
        setup.checkpoint.weights.release()  # values that were read for the hash and are not needed
    job.prepared = time.monotonic() - sitting.began
    return job


def _resume(job: Job, snapshot: Snapshot) -> None:
    """Restore a saved state and report from where the run continues."""
    job.engine.set_state(snapshot.tensors())
    repoint(job.folder.checkpoints, snapshot, job.progress.best_step)
    now: Mapping[str, Any] = {**machine(job.setup.run.backend), **job.setup.choices.described()}
    for change in machine_differences(snapshot.state.machine, now):
        job.warn(f"the machine has changed, so the last bits of the result may differ: {change}")
    where = (
        "after training" if job.progress.ended else f"at epoch {job.progress.epoch + 1}, step {snapshot.step}"
    )
    job.console.say(f"resuming {job.folder.path} {where} (same data order, same dropout)")


def _train(job: Job) -> None:
    """Run the loop to its end."""
    if job.progress.ended is not None:
        job.signals.defer()  # nothing is lost from here on, but files being written must be completed
        return
    display = job.display
    hooks = Hooks(
        job.evaluate,
        job.save,
        job.log.write,
        display.show,
        job.drop,
        warn=job.warn,
        reload=job.reload,
        settle_save=job.settle_save,
    )
    job.writer.prepare(job.engine.room())
    loop = Loop(job.engine, TrainBatches(job.setup), job.setup.run.train, job.progress, hooks, job.signals)
    display.train(loop.total, loop.updates_per_epoch)
    smaller_updates.train(loop)
    display.trained()


def _write_failure(folder: RunFolder, setup: Setup, log: EventLog, error: Exception) -> None:
    """Write a result without a score, so that nobody mistakes the run for a finished one."""
    try:
        result = failed_result(result_fields(setup), error)
        write_result(folder.metrics, result)
        if result.error is not None:
            log.write(Failed(message=str(error), exit_code=result.error.exit_code), echo=False)
    except (ClueError, MemoryError):
        return  # the cause of this failure, a full disk or no memory, is already being reported to the user
