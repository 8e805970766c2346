"""What the last bits of a run depend on besides settings and data: versions, processor, cores.

In: the backend's name, this machine. Out: plain values for a saved state, and what has changed since.
Knows nothing about engines; no backend is imported.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
from collections.abc import Mapping
from typing import Any

PACKAGES = {
    "tensorflow": ("tensorflow", "tensorflow-cpu", "keras", "numpy"),
    "jax": ("jax", "jaxlib", "keras", "numpy"),
}


def machine(backend: str) -> dict[str, Any]:
    """Return what bit-equality depends on besides settings and data."""
    return {"cores": core_count(), "processor": platform.machine(), "versions": package_versions(backend)}


def package_versions(backend: str) -> dict[str, str]:
    """Return the versions of Python, of this program and of the libraries that compute."""
    versions = {"python": platform.python_version()}
    for package in ("clue-runner", *PACKAGES[backend]):
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue  # the same backend comes under several names
    return versions


def core_count() -> int:
    """Return the cores that this process may use; sums may differ in the last bit between counts."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def machine_differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return what has changed since the state was saved; equal results are then likely but not certain."""
    changes = [
        f"{name}: was {before.get(name)}, is now {now.get(name)}"
        for name in sorted((before.keys() | now.keys()) - {"versions"})
        if before.get(name) != now.get(name)
    ]
    old, new = dict(before.get("versions", {})), dict(now.get("versions", {}))
    return changes + [
        f"{name}: was {old.get(name)}, is now {new.get(name)}"
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name)
    ]
