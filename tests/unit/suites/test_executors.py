"""What executors hand over, and what becomes of a run whose runner is gone."""

from __future__ import annotations

import os
import pickle
import platform
import signal
import subprocess
import sys
import time

import pytest

from clue_runner.suites.executors import slurm
from clue_runner.suites.items import Work
from clue_runner.suites.suite import SlurmSettings

WORK = Work("id", "words", ("--task", "afqmc"), "/run", "/root", "1+a")


def test_work_and_jobs_can_be_sent() -> None:
    assert pickle.loads(pickle.dumps(WORK)) == WORK
    assert pickle.loads(pickle.dumps(slurm.Job(WORK))).work == WORK


def test_a_job_that_is_cut_short_goes_back_with_the_same_work() -> None:
    pytest.importorskip("submitit")
    job = slurm.Job(WORK)
    again = job.checkpoint().function
    assert (again.work, again is job) == (WORK, False)


def test_parameters_of_a_job() -> None:
    settings = SlurmSettings(partition="gpu", minutes=30, gpus=2, parallel=3, more={"slurm_account": "me"})
    assert slurm._parameters(settings) == {
        "name": "clue",
        "timeout_min": 30,
        "cpus_per_task": 4,
        "mem_gb": 16,
        "gpus_per_node": 2,
        "slurm_array_parallelism": 3,
        "slurm_partition": "gpu",
        "slurm_account": "me",
    }
    here = slurm._parameters(settings.model_copy(update={"cluster": "local", "more": {}}))
    assert not [name for name in here if name.startswith("slurm")]


def test_a_run_without_its_runner_does_not_begin() -> None:
    command = [sys.executable, "-m", "clue_runner.suites.child"]
    assert subprocess.run([*command, "1", "--version"], capture_output=True).returncode == 143
    mine = subprocess.run([*command, str(os.getpid()), "--version"], capture_output=True, text=True)
    assert (mine.returncode, mine.stdout.startswith("clue-runner ")) == (0, True)


@pytest.mark.skipif(platform.system() != "Linux", reason="the system tells a process of its parent's end")
def test_a_run_whose_runner_is_killed_is_told() -> None:
    run = (
        "import os, signal, time\n"
        "from clue_runner.suites.child import follow\n"
        "signal.signal(signal.SIGTERM, lambda *_: (print('told', flush=True), os._exit(0)))\n"
        "follow(os.getppid())\n"
        "print('ready', flush=True)\n"
        "time.sleep(60)\n"
    )
    runner = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {run!r}])"
    process = subprocess.Popen([sys.executable, "-c", runner], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    os.kill(process.pid, signal.SIGKILL)
    begun = time.monotonic()
    assert process.stdout.readline() == "told\n"
    assert time.monotonic() < begun + 20
    process.wait()
