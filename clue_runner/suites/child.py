"""``python -m clue_runner.suites.child PARENT ...``: a ``clue`` command that stops when its parent is gone.

In: the parent's process id, and argv of ``clue``. Out: what the command does.
A killed runner would leave its runs unattended and a GPU unaccounted for: the system therefore
sends this process SIGTERM, which saves the state. Where the system cannot (not Linux), the run continues by
itself, and the lock of its folder keeps others away. SIGUSR1 and SIGUSR2 are for the runner: SLURM sends them
to every process of a job, and they would end this one. Knows nothing about what the command is.
"""

from __future__ import annotations

import ctypes
import os
import platform
import runpy
import signal
import sys

PR_SET_PDEATHSIG = 1


def follow(parent: int) -> bool:
    """Ask the system for SIGTERM at the parent's end; return False where the parent has ended already."""
    if platform.system() == "Linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    return os.getppid() == parent


if __name__ == "__main__":
    for number in (signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)
    if not follow(int(sys.argv.pop(1))):
        raise SystemExit(128 + signal.SIGTERM)
    runpy.run_module("clue_runner", run_name="__main__", alter_sys=True)
