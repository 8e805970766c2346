"""How the benchmarks measure: jobs in processes of their own, memory of a step, steps side by side.

In: a job (what JSON can hold), the script that runs it as ``--worker JOB``. Out: the figures it printed.
Knows nothing about what the scripts measure.

How growth is measured. On a CPU: freed memory goes back to the system (malloc_trim), the kernel's peak mark
is reset (/proc/self/clear_refs), one step runs, and the peak of the resident set minus its size before is the
growth. A step before it has traced the graph and loaded the libraries: a small one, or, where XLA compiles
each shape, one of full size, so that the compiler's own memory is not counted. On a GPU with JAX:
``memory_stats()['peak_bytes_in_use']`` of the fresh process minus the bytes of the state.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

MIB = 2**20
MEMORY_SCHEDULER = "--xla_cpu_scheduler_type=CPU_SCHEDULER_TYPE_MEMORY_OPTIMIZED"


def run_cell(
    job: Mapping[str, Any], script: str, *, flags: str = "", limit: float | None = None
) -> dict[str, Any]:
    """Run ``script --worker JOB`` in a fresh process; return its figures, or ``error`` in words.

    Args:
        job: with the key ``backend``.
        script: the file, whose worker prints a JSON object as its last line.
        flags: more XLA_FLAGS.
        limit: seconds after which it is killed: an ``error``, with ``late``; None: none.
    """
    environment = {
        **os.environ,
        "KERAS_BACKEND": job["backend"],
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
        "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} {flags}".strip(),
    }
    try:
        done = subprocess.run(
            [sys.executable, script, "--worker", json.dumps(job)],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=limit,
        )
    except subprocess.TimeoutExpired:
        return {"error": f"stopped after {limit:.0f} s", "late": True}
    if done.returncode:
        return {"error": _error_in(done.stderr)[:200] or f"exit {done.returncode}"}
    found: dict[str, Any] = json.loads(done.stdout.strip().rpartition("\n")[2])
    return found


def _error_in(said: str) -> str:
    """Return the line that names the last error, else the last line: JAX adds advice below its errors."""
    named = re.findall(r"^[\w.]*(?:Error|Exception|Exit)\b.*", said, re.MULTILINE)
    return str(named[-1]) if named else said.strip().rpartition("\n")[2]


class Figures:
    """Figures of a script's jobs; those in a file are not measured again."""

    def __init__(self, path: Path | None, script: str) -> None:
        self.path, self.script = path, script
        self.known: list[dict[str, Any]] = []
        if path is not None and path.exists():
            self.known = json.loads(path.read_text(encoding="utf-8"))

    def of(self, job: Mapping[str, Any]) -> dict[str, Any]:
        """Return the job with its figures, or with ``error``."""
        found = next((one for one in self.known if job.items() <= one.items()), None)
        if found is None:
            found = {**job, **run_cell(job, self.script, flags=self.flags(job))}
            if "error" not in found:
                self.known.append(found)
            if self.path:
                self.path.write_text(json.dumps(self.known, indent=1), encoding="utf-8")
            figure = f"{found['growth'] / MIB:.0f} MiB" if "growth" in found else found.get("error", "timed")
            print(f"{self.words(job)}: {figure}", file=sys.stderr, flush=True)
        return found

    def flags(self, job: Mapping[str, Any]) -> str:
        """Return more XLA_FLAGS for a job."""
        return ""

    def words(self, job: Mapping[str, Any]) -> str:
        """Return what a job is called."""
        return ", ".join(f"{name} {value}" for name, value in job.items())


def svg_plots() -> Any:
    """Return matplotlib's pyplot, set so that the same data gives the same file; ``save_svg`` writes it."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.fonttype"] = "none"  # text stays text
    matplotlib.rcParams["svg.hashsalt"] = "clue"
    from matplotlib import pyplot

    return pyplot


def save_svg(figure: Any, path: Path) -> None:
    """Write a figure without the date."""
    figure.savefig(path, metadata={"Date": None})


def resident(field: str) -> int:
    """Return VmRSS or VmHWM of this process in bytes."""
    found = re.search(rf"{field}:\s+(\d+)", Path("/proc/self/status").read_text(encoding="utf-8"))
    if found is None:
        raise RuntimeError(f"no {field} in /proc/self/status: memory is measured on Linux alone")
    return 1024 * int(found.group(1))


def reset_peak() -> int:
    """Give freed memory back, reset the peak mark; return the resident bytes."""
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return resident("VmRSS")


def step_growth(step: Callable[[Any], Any], full: Any, small: Any, *, keeps: bool) -> int:
    """Return the growth of the resident bytes in ``step(full)`` on a CPU.

    Args:
        step: runs one training step.
        full: the update to measure.
        small: what runs before it, of the same size where each shape is compiled.
        keeps: the backend keeps what it took (TensorFlow with XLA): what stays is the growth, the peak would
            hold the compiler's memory too.
    """
    step(small)
    before = reset_peak()
    step(full)
    return (reset_peak() if keeps else resident("VmHWM")) - before


def gpu_growth(engine: Any) -> int:
    """Return the peak bytes on JAX's first GPU minus those of the engine's state."""
    import jax

    kept = sum(value.nbytes for value in jax.tree.leaves(engine.state))
    return int(jax.devices()[0].memory_stats()["peak_bytes_in_use"]) - kept


class Times(NamedTuple):
    """Seconds by the clock and of the processor, each a median, and ratios to the first contestant."""

    clock: float
    processor: float
    clock_ratio: float
    processor_ratio: float


def side_by_side(steps: Mapping[str, Callable[[], Any]], count: int) -> dict[str, Times]:
    """Run all steps in turn, ``count`` rounds; ratios are medians over the rounds, each to the same round.

    A machine that others use slows neighbours in time alike, so that ratios of a round move less than times.
    """
    rounds: dict[str, list[tuple[float, float]]] = {name: [] for name in steps}
    for _ in range(count):
        for name, step in steps.items():
            started, before = time.perf_counter(), time.process_time()
            step()
            rounds[name].append((time.perf_counter() - started, time.process_time() - before))
    first = next(iter(rounds.values()))
    found = {}
    for name, taken in rounds.items():
        medians = [statistics.median(one[place] for one in taken) for place in (0, 1)]
        ratios = [
            statistics.median(one[place] / other[place] for one, other in zip(taken, first, strict=True))
            for place in (0, 1)
        ]
        found[name] = Times(*medians, *ratios)
    return found
