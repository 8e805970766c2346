"""How much memory there is: of this machine, of this container, of a GPU.

In: a device. Out: bytes. Knows nothing about networks. No backend is loaded for it.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

from clue_runner.config.schema import Run
from clue_runner.errors import UsageError
from clue_runner.training.devices import Device, core_count

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_UNITS |= {f"{unit}I": 1024**power for power, unit in enumerate("KMGT", start=1)}
# (limit, use) of a container, by version of control groups
_GROUPS = (
    ("memory.max", "memory.current"),
    ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
)


def read_size(text: str) -> int:
    """Return the bytes that ``24GB``, ``512MiB`` or ``8g`` mean.

    Raises:
        UsageError: it is no size.
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?I?)B?\s*", text.upper())
    if found is None or found[2] not in _UNITS or float(found[1]) <= 0:
        raise UsageError(
            "no amount of memory",
            where="--budget",
            received=text,
            allowed="a number with a unit: 24GB, 512MB, 16GiB",
        )
    return round(float(found[1]) * _UNITS[found[2]])


def free_host_bytes(
    meminfo: Path = Path("/proc/meminfo"), groups: Path = Path("/sys/fs/cgroup")
) -> int | None:
    """Return the memory that this process can still take; None where the system does not say.

    That is what the machine has available, or what is left under a container's limit.
    """
    sizes = []
    try:
        found = re.search(r"^MemAvailable:\s+(\d+) kB", meminfo.read_text(encoding="utf-8"), re.MULTILINE)
    except OSError:
        found = None
    if found:
        sizes.append(1024 * int(found[1]))
    for limit, use in _GROUPS:
        try:
            texts = [(groups / name).read_text(encoding="utf-8").strip() for name in (limit, use)]
        except OSError:
            continue
        if all(text.isdigit() for text in texts):  # "max" stands for no limit
            sizes.append(max(0, int(texts[0]) - int(texts[1])))
    return min(sizes) if sizes else None


def free_gpu_bytes(index: int = 0) -> int | None:
    """Return the free memory of a GPU as its driver says; None where there is no driver."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    command = [program, "--query-gpu=memory.free", "--format=csv,noheader,nounits", f"--id={index}"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    text = found.stdout.strip()
    return int(text) * 2**20 if found.returncode == 0 and text.isdigit() else None


def guess_device(run: Run) -> Device:
    """Return the device that ``run.device`` means, without loading a backend: a GPU if a driver lists one."""
    index = int(run.device.partition(":")[2] or 0)
    if run.device != "cpu" and free_gpu_bytes(index) is not None:
        return Device("gpu", index, f"GPU {index}", core_count())
    return Device("cpu", 0, "CPU", core_count())


def free_bytes(device: Device) -> int | None:
    """Return the free memory of a device; None where it cannot be told."""
    return free_gpu_bytes(device.index) if device.kind == "gpu" else free_host_bytes()
