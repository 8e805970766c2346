"""Items as jobs of SLURM, by submitit: an array with a time limit; an interrupted job is queued again.

In: work. Out: results on a disk that every node sees. ``cluster: local`` starts the same jobs as processes
here. A job that times out or is preempted saves its state and is queued again.
submitit passes jobs as pickles in ``<suite>/slurm``: anyone who can write there can execute code as the user.
Knows nothing about suites' contents or tables.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from clue_runner.errors import UsageError
from clue_runner.suites.attempt import attempt
from clue_runner.suites.executors.local import Done
from clue_runner.suites.items import Work
from clue_runner.suites.suite import SlurmSettings

POLL = 1.0  # seconds
SAVING_SECONDS = 60.0  # time limit for saving a run's state before its job leaves the node


def require(settings: SlurmSettings) -> None:
    """Refuse SLURM where it cannot be used.

    Raises:
        UsageError: submitit is not installed, or there is no SLURM on this machine.
    """
    if find_spec("submitit") is None:
        raise UsageError(
            "submitit is not installed",
            where="--executor",
            received="slurm",
            next_step="pip install 'clue-runner[slurm]'",
        )
    if settings.cluster == "slurm" and (shutil.which("sbatch") is None or shutil.which("srun") is None):
        raise UsageError(
            "SLURM cannot be reached from this machine: it has no sbatch and srun",
            where="--executor",
            received="slurm",
            next_step="run it on a login node, or with --executor local",
        )


@dataclass
class Job:
    """One item as submitit calls it on the node; ``checkpoint`` is called if the job is interrupted."""

    work: Work
    _leaving: bool = field(default=False, repr=False)

    def __call__(self) -> int:
        """Execute the item."""
        return attempt(self.work, stopped=lambda: self._leaving)

    def checkpoint(self) -> Any:
        """Let the run save its state, and return the job that continues: the same again.

        Called in a signal handler, on top of ``__call__``: what that has started is ended here.
        """
        from submitit.helpers import DelayedSubmission

        from clue_runner.suites.attempt import end_processes

        self._leaving = True
        end_processes(SAVING_SECONDS)
        return DelayedSubmission(Job(self.work))


def execute(
    works: Sequence[Work], settings: SlurmSettings, root: Path, *, stopped: Callable[[], bool], done: Done
) -> None:
    """Submit all items to SLURM as one array, and wait for them.

    Args:
        works: the items.
        settings: the suite's ``slurm:`` section.
        root: the suite's folder.
        stopped: polled continuously; True cancels the jobs, whose runs save their states.
        done: called with each finished item and its exit code.
    """
    import submitit

    executor = submitit.AutoExecutor(root / "slurm", cluster=settings.cluster, **_requeues(settings))
    executor.update_parameters(**_parameters(settings))
    with executor.batch():
        jobs = [executor.submit(Job(work)) for work in works]
    waiting = dict(zip(jobs, works, strict=True))
    while waiting:
        for job in [job for job in waiting if job.done()]:
            done(waiting.pop(job), _exit_code(job))
        if waiting and stopped():
            for job in waiting:
                job.cancel()
            return
        time.sleep(POLL if waiting else 0)


def _requeues(settings: SlurmSettings) -> dict[str, Any]:
    """Return how often a job may be queued again."""
    return {f"{settings.cluster}_max_num_timeout": settings.requeues} if settings.cluster == "slurm" else {}


def _parameters(settings: SlurmSettings) -> dict[str, Any]:
    """Return the resources of one job, in submitit's terms."""
    parameters: dict[str, Any] = {
        "name": "clue",
        "timeout_min": settings.minutes,
        "cpus_per_task": settings.cpus,
        "mem_gb": settings.memory_gb,
        "gpus_per_node": settings.gpus,
    }
    if settings.cluster == "slurm":
        parameters["slurm_array_parallelism"] = settings.parallel
        if settings.partition is not None:
            parameters["slurm_partition"] = settings.partition
    return {**parameters, **settings.more}


def _exit_code(job: Any) -> int:
    """Return the exit code of an item's last try; 143 where its job was ended from outside."""
    failure = job.exception()
    if failure is None:
        code: int = job.result()
        return code
    return 143
