"""Items as tasks of a Ray cluster: each takes CPUs and GPUs, and is retried if a node dies.

In: work. Out: results on a disk that every node sees. Ray's job interface runs anyone's code:
for closed networks only. Knows nothing about suites' contents or tables.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Any

from clue_runner.errors import UsageError
from clue_runner.suites.attempt import attempt
from clue_runner.suites.executors.local import Done
from clue_runner.suites.items import Work
from clue_runner.suites.suite import RaySettings

CONNECT_SECONDS = 5.0
POLL = 1.0
LOST = 137  # exit code of a task whose node died more often than the retry limit


def require(settings: RaySettings) -> None:
    """Refuse Ray where it cannot be used, and connect to the cluster.

    Raises:
        UsageError: Ray is not installed, or its cluster cannot be reached.
    """
    if find_spec("ray") is None:
        raise UsageError(
            "Ray is not installed",
            where="--executor",
            received="ray",
            next_step="pip install 'clue-runner[ray]'",
        )
    host, _, port = settings.address.rpartition(":")
    if host and port.isdigit():
        try:
            socket.create_connection((host, int(port)), CONNECT_SECONDS).close()
        except OSError as error:
            raise _unreachable(settings, str(error)) from None
    import ray

    try:
        ray.init(
            address=settings.address, logging_level="ERROR", log_to_driver=False, ignore_reinit_error=True
        )
    except Exception as error:  # Ray's errors share no common base class here
        raise _unreachable(settings, str(error).partition("\n")[0]) from error


def _unreachable(settings: RaySettings, why: str) -> UsageError:
    return UsageError(
        f"no Ray cluster can be reached: {why}",
        where="ray.address",
        received=settings.address,
        next_step="ray start --head on one machine and ray start --address=HOST:6379 on the others, "
        "or run with --executor local",
    )


def execute(works: Sequence[Work], settings: RaySettings, *, stopped: Callable[[], bool], done: Done) -> None:
    """Submit all items to the cluster, and wait for them.

    Args:
        works: the items.
        settings: the suite's ``ray:`` section.
        stopped: polled continuously; True cancels the tasks, whose runs save their states.
        done: called with each finished item and its exit code.
    """
    import ray

    task: Any = ray.remote(
        num_cpus=settings.cpus, num_gpus=settings.gpus, max_retries=settings.retries, retry_exceptions=False
    )(attempt)
    waiting = {task.remote(work): work for work in works}
    while waiting:
        ended, _ = ray.wait(list(waiting), timeout=POLL)
        for reference in ended:
            done(waiting.pop(reference), _exit_code(reference))
        if waiting and stopped():
            for reference in waiting:
                ray.cancel(reference, force=False)
            return


def _exit_code(reference: Any) -> int:
    """Return the exit code of an item's last try."""
    import ray

    try:
        code: int = ray.get(reference)
    except ray.exceptions.RayError:
        return LOST
    return code
