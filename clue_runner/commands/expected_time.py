"""How long a run will take, judged by earlier runs on this machine.

In: a setup and finished runs. Out: seconds, and the run that they are computed from.
Knows nothing about engines: without an earlier run of the same network there is no figure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from clue_runner.config.resolved import flat
from clue_runner.errors import ClueError
from clue_runner.runs.find import FinishedRun, finished_runs
from clue_runner.runs.folder import RunFolder
from clue_runner.runs.machine import machine
from clue_runner.runs.results import RunResult
from clue_runner.runs.resume import best_snapshot
from clue_runner.training.run_display import evaluations_until
from clue_runner.training.setup import Setup

# The speed depends on everything about the network except where its weights come from.
NOT_OF_THE_RATE = {
    "model.name",
    "model.checkpoint",
    "model.init",
    "model.vocab",
    "model.vocab_trust",
    "model.ignore",
}
OF_THE_RATE = {"data.max_length", "backend", "train.token_budget", "train.lengths", "train.jit"}
SAME_MACHINE = ("processor", "processor_model", "cores")
GPU = "(gpu:"  # how results mark a GPU


@dataclass(frozen=True)
class ExpectedTime:
    """Seconds without start-up, and the run whose speed they assume."""

    seconds: float
    run: Path


def expected_time(setup: Setup, steps: int, steps_per_epoch: int, root: Path) -> ExpectedTime | None:
    """Return how long ``steps`` updates with their evaluations and predictions take; None: unknown.

    Args:
        setup: the run; its rows are of this task.
        steps: updates in all.
        steps_per_epoch: updates in one epoch.
        root: the folder of earlier runs.
    """
    wanted = _rate_settings(flat(setup.run))
    for earlier in finished_runs(root, setup.card.name):
        if not _is_alike(earlier, setup, wanted):
            continue
        seconds = _seconds(earlier.result, setup, steps, steps_per_epoch)
        if seconds is not None:
            return ExpectedTime(seconds, earlier.folder.path)
    return None


def _is_alike(earlier: FinishedRun, setup: Setup, wanted: Mapping[str, object]) -> bool:
    """Return whether an earlier run computed the same network on this machine, on the same kind of device."""
    result, choices = earlier.result, setup.choices
    on_gpu = GPU in (result.device or "")
    if (on_gpu, result.precision) != (choices.device.kind == "gpu", choices.precision.value):
        return False
    try:
        if _rate_settings(earlier.folder.values() or {}) != wanted:
            return False
        then, now = machine_of(earlier.folder), machine(setup.run.backend)
    except ClueError:  # a damaged run says nothing about time
        return False
    return all(then.get(key) == now[key] for key in SAME_MACHINE)


def machine_of(folder: RunFolder) -> Mapping[str, object]:
    """Return the machine that a run's best state was saved on.

    Raises:
        CheckpointError: no whole state.
    """
    return best_snapshot(folder).state.machine


def _rate_settings(values: Mapping[str, object]) -> dict[str, object]:
    """Return the settings that the speed depends on."""
    return {
        key: value
        for key, value in values.items()
        if key in OF_THE_RATE or (key.startswith("model.") and key not in NOT_OF_THE_RATE)
    }


def _seconds(result: RunResult, setup: Setup, steps: int, steps_per_epoch: int) -> float | None:
    """Return the time at the speed of ``result``; None where that run was too short to tell."""
    rates = result.examples_per_second
    train, evaluate = rates.get("train"), rates.get("evaluate")
    predict = rates.get("predict") or evaluate
    if not train or not evaluate or not predict:
        return None
    rows, settings = setup.rows, setup.run.train
    trained = min(steps * settings.examples, settings.epochs * len(rows["train"]))
    evaluated = evaluations_until(steps, settings, steps_per_epoch) * len(rows["dev"])
    predicted = sum(len(rows[split]) for split in setup.card.test_splits if split in rows)
    return trained / train + evaluated / evaluate + predicted / predict
