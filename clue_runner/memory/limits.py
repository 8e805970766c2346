"""The available memory: of this machine, of this container, of a GPU.

In: a device. Out: bytes. Knows nothing about networks or settings. No backend is loaded.
"""

from __future__ import annotations

import re
from pathlib import Path

import psutil

from clue_runner.engines.devices import Device
from clue_runner.engines.gpus import visible_gpu
from clue_runner.errors import UsageError

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_UNITS |= {f"{unit}I": 1024**power for power, unit in enumerate("KMGT", start=1)}
# (limit, usage, breakdown of the usage) of a container, by version of control groups
_GROUPS = (
    ("memory.max", "memory.current", "memory.stat"),
    ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat"),
)


_NO_MACHINE = 1e6  # of any unit


def read_size(text: str) -> int:
    """Return the bytes that ``24GB``, ``512MiB`` or ``8g`` mean.

    Raises:
        UsageError: the text is not a size.
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?I?)B?\s*", text.upper())
    if found is None or found[2] not in _UNITS or not 0 < float(found[1]) < _NO_MACHINE:
        raise UsageError(
            "not an amount of memory",
            where="--budget",
            received=repr(text[:40]),
            allowed="a number with a unit: 24GB, 512MB, 16GiB",
        )
    return round(float(found[1]) * _UNITS[found[2]])


def free_host_bytes(
    meminfo: Path = Path("/proc/meminfo"), groups: Path = Path("/sys/fs/cgroup")
) -> int | None:
    """Return the memory that this process can still allocate; None if the system does not report it.

    This is the machine's available memory, or what is left under a container's limit.
    """
    sizes = []
    found = re.search(r"^MemAvailable:\s+(\d+) kB", _text(meminfo), re.MULTILINE)
    if found:
        sizes.append(1024 * int(found[1]))
    for names in _GROUPS:
        limit, use, parts = (_text(groups / name) for name in names)
        if limit.isdigit() and use.isdigit():  # "max" means no limit
            # cached files count as used, but the system drops inactive ones before anything else
            dropped = re.findall(r"^(?:total_)?inactive_file (\d+)$", parts, re.MULTILINE)
            sizes.append(max(0, int(limit) - int(use) + max(map(int, dropped), default=0)))
    return min(sizes) if sizes else None


def host_bytes(groups: Path = Path("/sys/fs/cgroup")) -> int:
    """Return the memory that this process may use: the machine's, or a container's limit below it."""
    limits = (_text(groups / limit) for limit, _, _ in _GROUPS)
    return min([psutil.virtual_memory().total, *(int(limit) for limit in limits if limit.isdigit())])


def _text(path: Path) -> str:
    """Return the text of a system file; empty if there is no such file."""
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def free_gpu_bytes(index: int = 0) -> int | None:
    """Return the free memory of a GPU as its driver reports it; None if there is no driver."""
    gpu = visible_gpu(index)
    return None if gpu is None else gpu.free


def free_bytes(device: Device) -> int | None:
    """Return the free memory of each device that shares the batches; None if it is unknown."""
    if device.kind == "cpu":
        free = free_host_bytes()
        return None if free is None else free // device.count
    each = [free_gpu_bytes(number) for number in range(device.index, device.index + device.count)]
    known = [free for free in each if free is not None]
    return min(known) if len(known) == len(each) else None
