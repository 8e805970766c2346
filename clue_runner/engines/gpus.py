"""NVIDIA GPUs as reported by their driver: names and memory. No backend is loaded.

In: a backend's number of a GPU. Out: its name, its memory and the free part, in bytes.
Knows nothing about backends or runs.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import count, takewhile
from typing import Any, NamedTuple, TypeVar

Answer = TypeVar("Answer")


class Gpu(NamedTuple):
    """One GPU; ``total`` and ``free`` are bytes."""

    name: str
    total: int
    free: int


def nvidia_gpus() -> list[Gpu]:
    """Return all GPUs of this machine, hidden ones too; none where there is no driver."""
    return _ask(lambda driver: [_gpu(driver, number) for number in range(driver.nvmlDeviceGetCount())]) or []


def visible_gpu(index: int) -> Gpu | None:
    """Return the GPU that backends count as ``index``; None where there is none or no driver."""
    name = _driver_name(index)
    return None if name is None else _ask(lambda driver: _gpu(driver, name))


def visible_gpu_count() -> int:
    """Return how many GPUs backends count; 0 without a driver."""
    return next(index for index in count() if visible_gpu(index) is None)


def _driver_name(index: int) -> int | str | None:
    """Return the number or UUID by which the driver knows a backend's GPU; None where there is none.

    Backends count the GPUs in CUDA_VISIBLE_DEVICES, the driver counts all of them.
    """
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return index
    # as CUDA reads it: entries count only up to the first one that names no GPU
    names = list(takewhile(lambda name: name not in {"", "-1"}, map(str.strip, visible.split(","))))
    if index >= len(names):
        return None
    return int(names[index]) if names[index].isdigit() else names[index]


def _gpu(driver: Any, name: int | str) -> Gpu:
    by_number = isinstance(name, int)
    find = driver.nvmlDeviceGetHandleByIndex if by_number else driver.nvmlDeviceGetHandleByUUID
    handle = find(name)
    memory = driver.nvmlDeviceGetMemoryInfo(handle)
    return Gpu(str(driver.nvmlDeviceGetName(handle)), int(memory.total), int(memory.free))


def _ask(question: Callable[[Any], Answer]) -> Answer | None:
    """Return the driver's answer; None if there is no driver or no such GPU."""
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None
    try:
        return question(pynvml)
    except pynvml.NVMLError:
        return None
    finally:
        pynvml.nvmlShutdown()
