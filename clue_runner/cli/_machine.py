"""Facts about this machine, found without importing a backend.

In: nothing but the machine. Out: a dictionary of plain values. Each backend is asked in a separate process,
with a time limit, so that a broken driver cannot hang or crash the check.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import time
from importlib import metadata
from importlib.util import find_spec
from typing import Any

BACKEND_SECONDS, GPU_SECONDS = 90.0, 20.0
LIBRARIES = ("keras", "numpy", "tokenizers", "safetensors", "scikit-learn", "pydantic")
DISTRIBUTIONS = {"tensorflow": ("tensorflow", "tensorflow-cpu", "tensorflow-intel"), "jax": ("jax",)}
# import_module, since only the engines may import a backend by statement; here it runs in a child process.
PROBES = {
    "tensorflow": "from importlib import import_module as i;import json;"
    "d=i('tensorflow').config.list_physical_devices();"
    "print('DEVICES'+json.dumps([x.device_type.lower() for x in d if x.device_type in('CPU','GPU')]))",
    "jax": "from importlib import import_module as i;import json;"
    "print('DEVICES'+json.dumps([x.platform for x in i('jax').devices()]))",
}
GPUS = (
    "import json;from clue_runner.engines.gpus import nvidia_gpus;"
    "print('DEVICES'+json.dumps([f'{x.name}, {x.total // 2**20} MiB' for x in nvidia_gpus()]))"
)


def machine_facts() -> dict[str, Any]:
    """Return what is known about the machine, as JSON types."""
    from clue_runner.config.shipped import clue_home
    from clue_runner.memory.limits import host_bytes
    from clue_runner.runs.machine import core_count, processor_flags

    flags = processor_flags()
    home = clue_home()
    existing = next(folder for folder in (home, *home.parents) if folder.exists())
    data = home / "data"
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "versions": {name: _version(name) for name in ("clue-runner", *LIBRARIES)},
        "backends": probe_backends(),
        "gpus": _answer(_child(GPUS, dict(os.environ)), GPU_SECONDS).get("devices", []),
        "cores": core_count(),
        "bfloat16": bool(flags & {"avx512_bf16", "amx_bf16", "bf16"}) if flags else None,
        "memory_bytes": host_bytes(),
        "home": str(home),
        "home_writable": os.access(existing, os.W_OK),
        "disk_free_bytes": shutil.disk_usage(existing).free,
        "data": sorted(path.name for path in data.iterdir() if path.is_dir()) if data.is_dir() else [],
    }


def probe_backends() -> dict[str, dict[str, Any]]:
    """Ask each installed backend for its devices, all at once, each in its own process."""
    found: dict[str, dict[str, Any]] = {}
    children: dict[str, subprocess.Popen[str]] = {}
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    for name, code in PROBES.items():
        found[name] = {"version": _backend_version(name), "devices": [], "error": None}
        if find_spec(name) is None:
            found[name]["error"] = "not installed"
            continue
        children[name] = _child(code, environment)
    deadline = time.monotonic() + BACKEND_SECONDS
    for name, child in children.items():
        found[name].update(_answer(child, max(deadline - time.monotonic(), 0.1)))
    return found


def _child(code: str, environment: dict[str, str]) -> subprocess.Popen[str]:
    """Start Python on this code, in a process whose crash or hang does no harm here."""
    return subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        errors="replace",
        env=environment,
    )


def _answer(child: subprocess.Popen[str], seconds: float) -> dict[str, Any]:
    """Return a probe's devices, or why there are none."""
    try:
        output, errors = child.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        child.kill()
        child.communicate()
        return {"error": f"no answer within {BACKEND_SECONDS:.0f} s"}
    for line in output.split("\n"):
        if line.startswith("DEVICES"):
            names = ["gpu" if name == "cuda" else name for name in json.loads(line.removeprefix("DEVICES"))]
            return {"devices": names}
    last = [line for line in errors.split("\n") if line.strip()]
    return {"error": last[-1].strip()[:200] if last else f"ended with code {child.returncode}"}


def _version(distribution: str) -> str | None:
    """Return an installed distribution's version without importing it."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _backend_version(name: str) -> str | None:
    """Return a backend's version under whichever distribution provides it."""
    return next((version for entry in DISTRIBUTIONS[name] if (version := _version(entry))), None)
