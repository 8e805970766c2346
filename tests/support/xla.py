"""Flags of XLA for code that is made fast and runs slowly: the tests' networks compile longer than they run.

scripts/check_*.py make their claims about optimised code.
"""

from __future__ import annotations

import importlib.util
import mmap
from pathlib import Path

EMITTERS = "xla_cpu_use_fusion_emitters"
LIBRARIES = {"jax": ("jaxlib", "libjax*.so"), "tensorflow": ("tensorflow", "libtensorflow_framework.so*")}


def fast_flags(backend: str) -> str:
    """Return ``XLA_FLAGS`` for tests on a backend.

    The newer emitters of fused code take most of a compilation on a CPU. XLA ends a process that names a flag
    it does not know, and no library lists its flags, so that its bytes are searched.
    """
    flags = "--xla_backend_optimization_level=0"
    package, libraries = LIBRARIES[backend]
    found = importlib.util.find_spec(package)
    for folder in (found.submodule_search_locations or []) if found else []:
        for library in sorted(Path(folder).glob(libraries)):
            with library.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as raw:
                if raw.find(EMITTERS.encode()) >= 0:
                    return f"{flags} --{EMITTERS}=false"
    return flags
