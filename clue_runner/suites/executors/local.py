"""Items on this machine: one process for each GPU, else one after another; ``--workers`` sets the number.

In: work. Out: results on disk. Threads only wait: each item is a separate process.
Knows nothing about suites or tables.
"""

from __future__ import annotations

import os
import queue
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import replace

from clue_runner.engines.gpus import nvidia_gpus
from clue_runner.suites.attempt import attempt
from clue_runner.suites.items import Work

Done = Callable[[Work, int], None]
VISIBLE = "CUDA_VISIBLE_DEVICES"


def slots(workers: int | None, *, use_gpus: bool) -> list[dict[str, str]]:
    """Return the environment of each worker: one GPU each where there are any.

    Args:
        workers: how many; None: one for each GPU, one where there is none.
        use_gpus: False: the items are for the CPU.
    """
    gpus = _visible() if use_gpus else []
    count = workers or len(gpus) or 1
    return [{VISIBLE: gpus[index % len(gpus)]} if gpus else {} for index in range(count)]


def _visible() -> list[str]:
    """Return the GPUs that this process may use, as CUDA names them."""
    named = os.environ.get(VISIBLE)
    if named is not None:
        return [name.strip() for name in named.split(",") if name.strip() not in {"", "-1"}]
    return [str(number) for number in range(len(nvidia_gpus()))]


def execute(
    works: Sequence[Work],
    environments: Sequence[Mapping[str, str]],
    *,
    stopped: Callable[[], bool],
    done: Done,
) -> None:
    """Execute all items; a broken one stops no other.

    Args:
        works: the items, in order.
        environments: one per worker.
        stopped: polled continuously; True saves running items and starts no more.
        done: called with each finished item and its exit code.
    """
    free: queue.SimpleQueue[Mapping[str, str]] = queue.SimpleQueue()
    for environment in environments:
        free.put(environment)

    def one(work: Work) -> int | None:
        environment = free.get()
        try:
            return None if stopped() else attempt(replace(work, environment=environment), stopped=stopped)
        finally:
            free.put(environment)

    with ThreadPoolExecutor(len(environments), thread_name_prefix="item") as pool:
        waiting: dict[Future[int | None], Work] = {pool.submit(one, work): work for work in works}
        while waiting:
            ended, _ = wait(waiting, return_when=FIRST_COMPLETED)
            for future in ended:
                work = waiting.pop(future)
                code = future.result()
                if code is not None:
                    done(work, code)
