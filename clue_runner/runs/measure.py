"""Measurements of a run: clocks, padding, memory, the program's commit.

In: progress, the process. Out: plain numbers for ``RunResult``. Knows nothing about files of a run.
"""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

from clue_runner.runs.progress import Progress
from clue_runner.runs.results import SECONDS


def seconds_spent(progress: Progress, prepare: float, total: float) -> dict[str, float]:
    """Return the clock readings, summed over all saved sittings."""
    spent = {**progress.seconds, "prepare": prepare, "total": total}
    return {name: round(max(spent.get(name, 0.0), 0.0), 3) for name in SECONDS}


def padding_share(progress: Progress) -> float | None:
    """Return the fraction of computed train tokens that were padding."""
    if not progress.computed_tokens:
        return None
    return round(1 - progress.real_tokens / progress.computed_tokens, 4)


def peak_memory_bytes() -> int:
    """Return the peak memory of this process."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # macOS counts bytes, Linux kibibytes


def program_commit() -> str | None:
    """Return the commit of this project's working tree; None if it was installed from a wheel."""
    home = Path(__file__).resolve().parents[2]
    if not (home / ".git").exists():
        return None
    try:
        answer = subprocess.run(
            ["git", "-C", str(home), "rev-parse", "HEAD"],
            capture_output=True,
            text=True,
            timeout=5,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip() or None
