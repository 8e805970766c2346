"""What the last bits of a result depend on besides settings and data: processor, cores, versions, variables.

In: the backend's name, this machine. Out: plain values for a saved state, and what has changed since.
Knows nothing about engines; no backend is imported.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil

PACKAGES = {
    "tensorflow": ("tensorflow", "tensorflow-cpu", "keras", "numpy"),
    "jax": ("jax", "jaxlib", "keras", "numpy"),
}
# Variables of these libraries choose kernels and threads, and so the order of sums ...
DECIDING = (
    "OMP_",
    "KMP_",
    "GOMP_",
    "MKL_",
    "OPENBLAS_",
    "BLIS_",
    "VECLIB_",
    "ONEDNN_",
    "DNNL_",
    "TF_",
    "XLA_",
    "JAX_",
    "CUBLAS_",
    "CUDNN_",
    "CUDA_",
    "NVIDIA_TF32_",
)
# ... except these: logging, caching between processes, memory allocation, choice of GPU.
INDIFFERENT = (
    "TF_CPP_",
    "TF_GPU_ALLOCATOR",
    "TF_FORCE_GPU_ALLOW_GROWTH",
    "XLA_PYTHON_CLIENT_",
    "XLA_CLIENT_MEM_FRACTION",
    "JAX_COMPILATION_CACHE_",
    "JAX_PERSISTENT_CACHE_",
    "JAX_LOG_",
    "JAX_LOGGING_",
    "CUDA_VISIBLE_DEVICES",
    "CUDA_CACHE_",
    "CUDA_HOME",
    "CUDA_PATH",
    "CUDA_VERSION",
)
SECRET = ("TOKEN", "SECRET", "PASSWORD", "PASSWD", "CREDENTIAL", "API_KEY", "ACCESS_KEY", "PRIVATE_KEY")


def machine(backend: str) -> dict[str, Any]:
    """Return what bit-equality depends on besides settings and data.

    Keys: ``processor`` (its architecture), ``processor_model``, ``cores``, and mappings ``versions`` and
    ``environment``.
    """
    return {
        "processor": platform.machine(),
        "processor_model": processor_model(),
        "cores": core_count(),
        "versions": package_versions(backend),
        "environment": deciding_environment(os.environ),
    }


def package_versions(backend: str) -> dict[str, str]:
    """Return the versions of Python, of this program and of the libraries that compute."""
    versions = {"python": platform.python_version()}
    for package in ("clue-runner", *PACKAGES[backend]):
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue  # the same backend is distributed under several names
    return versions


def core_count() -> int:
    """Return the cores that this process may use; sums may differ in the last bit between counts."""
    try:
        return len(psutil.Process().cpu_affinity() or ())
    except AttributeError:  # macOS has no affinity
        return psutil.cpu_count() or 1


def processor_model() -> str:
    """Return the processor's name: kernels are chosen by it. Its architecture where it has no name."""
    return (_cpuinfo().get("model name") or platform.processor()) or platform.machine()


def processor_flags() -> frozenset[str]:
    """Return the processor's feature flags as Linux names them; empty if unknown."""
    facts = _cpuinfo()
    return frozenset((facts.get("flags") or facts.get("Features") or "").split())


def _cpuinfo() -> dict[str, str]:
    """Return Linux's description of the first processor; nothing on other systems."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return {}
    lines = (line.partition(":") for line in text.partition("\n\n")[0].split("\n"))
    return {name.strip(): value.strip() for name, _, value in lines}


def deciding_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that choose kernels and threads; whatever looks like a secret is left out."""
    return {
        name: value
        for name, value in sorted(environment.items())
        if name.startswith(DECIDING) and not name.startswith(INDIFFERENT)
        if not any(word in name.upper() for word in SECRET)
    }


def machine_differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return what has changed since a state was saved; equal results are then likely but not certain.

    Values recorded by only one of the two are not compared.
    """
    changes = []
    for name in sorted(before.keys() & now.keys()):
        old, new = before[name], now[name]
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            changes += [_change(key, old.get(key), new.get(key)) for key in sorted(old.keys() | new.keys())]
        else:
            changes.append(_change(name.replace("_", " "), old, new))
    return [change for change in changes if change]


def _change(name: str, before: Any, now: Any) -> str:
    """Return how a value has changed; empty if it has not."""
    if before == now:
        return ""
    was, is_now = ("not set" if value is None else value for value in (before, now))
    return f"{name}: was {was}, is now {is_now}"
