"""Whole benchmarks under fire: whoever executes a suite, and whatever is killed, the table is the serial one.

    python scripts/check_suite.py kills --items 40 --kills 20   # kill -9 of runner and runs, 2 local workers
    python scripts/check_suite.py two          # two `bench run` at once on one folder
    python scripts/check_suite.py index        # every item by --index, in processes of their own
    python scripts/check_suite.py slurm        # submitit's local executor, jobs pushed aside in between
    python scripts/check_suite.py ray          # two local Ray nodes, one of them killed

Each check runs the suite serially first (``--serial DIR`` keeps that run for the next check), then in its own
way, and compares: every item exactly once, with equal scores. Exit 1 where it differs.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

CLUE = [sys.executable, "-m", "clue_runner"]


def suite_file(folder: Path, items: int, backend: str, more: str = "") -> Path:
    """Write a suite of that many short runs."""
    seeds = list(range(1, items // 2 + 1))
    path = folder / "fire.yaml"
    path.write_text(
        "title: runs to be killed\n"
        "models: [test]\n"
        "tasks: [afqmc, csl]\n"
        f"seeds: {seeds}\n"
        "config: [smoke]\n"
        "settings: {train.max_steps: 24, train.epochs: 9, train.evaluate_steps: 8, train.save_steps: 4}\n"
        f"data: sample\ndevice: cpu\nbackend: {backend}\n{more}",
        encoding="utf-8",
    )
    return path


def bench(*arguments: object, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run one ``clue bench`` command to its end."""
    done = subprocess.run([*CLUE, "bench", *map(str, arguments)], capture_output=True, text=True)
    if check and done.returncode:
        raise SystemExit(f"clue bench {' '.join(map(str, arguments))}: exit {done.returncode}\n{done.stderr}")
    return done


def scores(folder: Path) -> dict[str, object]:
    """Return item -> everything of its result that two equal runs share."""
    table = json.loads((folder / "collected.json").read_text(encoding="utf-8"))
    return {
        row["id"]: (row["state"], row["score"], row["scores"], row["confidence_interval"])
        for row in table["rows"]
    }


def histories(folder: Path) -> dict[str, object]:
    """Return run folder -> its evaluations, losses among them."""
    return {
        path.parent.name: json.loads(path.read_text(encoding="utf-8"))["history"]
        for path in folder.glob("*/*/metrics.json")
    }


def compare(serial: Path, other: Path, items: int) -> None:
    """Fail unless both hold the same items with the same scores, each exactly once."""
    first, second = scores(serial), scores(other)
    folders = list(other.glob("*/*/metrics.json"))
    once = len(folders) == len({path.parent.name for path in folders}) == items
    same = first == second and histories(serial) == histories(other)
    finished = all(value[0] == "ok" for value in second.values())  # type: ignore[index]
    attempts = [
        json.loads(path.read_text(encoding="utf-8"))["attempts"] for path in other.glob("items/*/item.json")
    ]
    ended_well = [sum(one["exit_code"] == 0 for one in item) for item in attempts]
    print(
        f"{len(second)} items, {sum(map(len, attempts))} attempts, "
        f"at most {max(map(len, attempts))} at one; ended well {max(ended_well)} time at most; "
        f"equal to the serial run: {same}"
    )
    if not (same and once and finished and len(second) == items and max(ended_well) <= 1):
        raise SystemExit("FAILED")


def processes(folder: Path) -> list[psutil.Process]:
    """Return every process that works on a folder: runners and runs."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if any(str(folder) in word for word in words) and process.pid != os.getpid():
            found.append(process)
    return found


def kill_children(folder: Path, items: int, kills: int, suite: Path, seed: int, rest: float) -> None:
    """Start the runner again and again; kill -9 it or its runs at random moments, ``kills`` times.

    The kills are spread over the suite, each while a run is at work: a busy machine plans for as long as a
    quiet one trains.

    Args:
        folder: of the runs.
        items: how many the suite has.
        suite: its file.
        kills: how many.
        seed: of the draws.
        rest: seconds that one item takes.
    """
    draw = random.Random(seed)
    done = 0
    while True:
        runner = subprocess.Popen(
            [*CLUE, "bench", "run", suite, "--output", folder, "--workers", "2"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        while runner.poll() is None and done < kills:
            time.sleep(0.2)
            ended = len(list(folder.glob("*/*/metrics.json")))
            runs = [one for one in processes(folder) if one.pid != runner.pid]
            if ended < done * (items - 2) / kills or not runs:
                continue
            time.sleep(draw.uniform(0, rest))
            runs = [one for one in processes(folder) if one.pid != runner.pid]
            victim = draw.choice(runs) if runs and draw.random() < 0.7 else runner
            if runner.poll() is None and victim.pid in {one.pid for one in processes(folder)}:
                os.kill(victim.pid, signal.SIGKILL)
                done += 1
                name = "runner" if victim.pid == runner.pid else "run"
                print(f"kill {done}: {name}, {ended} items had ended", flush=True)
        code = runner.wait()
        if code == 0 and done >= kills:
            return
        if code == 0 and done < kills:
            raise SystemExit(f"the suite ended after {done} kills: more items, or fewer kills")


def by_index(folder: Path, items: int, suite: Path) -> None:
    """Run every item by its number, two processes at a time, in an order of their own."""
    waiting = list(reversed(range(items)))
    while waiting:
        pair = [waiting.pop() for _ in range(min(2, len(waiting)))]
        running = [
            subprocess.Popen(
                [*CLUE, "bench", "run", suite, "--output", folder, "--index", str(number), "--quiet"]
            )
            for number in pair
        ]
        if codes := [code for process in running if (code := process.wait())]:
            raise SystemExit(f"--index ended with {codes}")
    bench("collect", suite, "--output", folder)


def two_at_once(folder: Path, suite: Path) -> None:
    """Start the same command twice at the same time."""
    command = [*CLUE, "bench", "run", suite, "--output", folder, "--quiet"]
    running = [subprocess.Popen(command) for _ in range(2)]
    if codes := [code for process in running if (code := process.wait())]:
        raise SystemExit(f"two runners ended with {codes}")


def with_slurm(folder: Path, suite: Path) -> None:
    """Run through submitit's local executor; two jobs that have trained are sent its time-out signal."""
    runner = subprocess.Popen([*CLUE, "bench", "run", suite, "--output", folder, "--executor", "slurm"])
    interrupted: set[int] = set()
    while runner.poll() is None:
        time.sleep(0.5)
        for process in psutil.process_iter(["cmdline"]):
            words = " ".join(process.info["cmdline"] or [])
            job = "submitit.core._submit" in words and str(folder) in words
            saved = any(folder.glob("*/*/checkpoints/step-*"))
            if job and saved and process.pid not in interrupted and len(interrupted) < 2:
                interrupted.add(process.pid)
                process.send_signal(signal.SIGUSR2)
                print("a job was told that its time is over", flush=True)
    if runner.returncode or not interrupted:
        raise SystemExit(f"exit {runner.returncode}, {len(interrupted)} jobs interrupted")


def with_ray(folder: Path, suite: Path) -> None:
    """Run on two local Ray nodes; the second one is killed while it works."""
    ray = [str(Path(sys.executable).with_name("ray"))]
    place = Path(tempfile.mkdtemp(prefix="clue-ray-"))  # short: the system's sockets have names of 107 bytes
    options = ["--num-cpus", "1", "--num-gpus", "0", "--object-store-memory", "100000000"]
    head = [
        "--head",
        "--disable-usage-stats",
        "--port",
        "6399",
        "--include-dashboard",
        "false",
        "--temp-dir",
        str(place),
    ]
    try:
        subprocess.run([*ray, "start", *head, *options], check=True)
        before = {process.pid for process in psutil.process_iter()}
        subprocess.run([*ray, "start", "--address", "127.0.0.1:6399", *options], check=True)
        second = [
            process
            for process in psutil.process_iter(["cmdline"])
            if process.pid not in before and "raylet" in " ".join(process.info["cmdline"] or [])[:400]
        ]
        runner = subprocess.Popen([*CLUE, "bench", "run", suite, "--output", folder, "--executor", "ray"])
        while runner.poll() is None and not any(folder.glob("*/*/checkpoints/step-*")):
            time.sleep(0.5)
        for process in second:
            for child in (*process.children(recursive=True), process):
                if child.is_running() and "clue_runner.suites.child" not in " ".join(child.cmdline()):
                    child.kill()
        print(f"one of two nodes was killed ({len(second)} processes of it)", flush=True)
        if runner.wait() or not second:
            raise SystemExit(f"exit {runner.returncode}")
    finally:
        for process in processes(place):  # this cluster's alone: ray stop would end every other one too
            process.kill()
        shutil.rmtree(place, ignore_errors=True)


def main() -> None:
    """Run one check."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("check", choices=["kills", "two", "index", "slurm", "ray"])
    parser.add_argument("--items", type=int, default=40)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--backend", default="tensorflow")
    parser.add_argument("--folder", type=Path, default=Path("build/check-suite"))
    parser.add_argument("--serial", type=Path, help="where the serial run is, or shall be")
    options = parser.parse_args()
    folder = options.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    more = "slurm: {cluster: local, gpus: 0, minutes: 60}\n"
    more += "ray: {address: '127.0.0.1:6399', gpus: 0, cpus: 1}\n"
    suite = suite_file(folder, options.items, options.backend, more)
    serial = (options.serial or folder / "serial").resolve()
    began = time.monotonic()
    bench("run", suite, "--output", serial)
    print(f"serial run of {options.items} items: {time.monotonic() - began:.0f} s", flush=True)
    seconds = [
        json.loads(path.read_text(encoding="utf-8"))["seconds"] for path in serial.glob("*/*/metrics.json")
    ]
    rest = sum(one["total"] for one in seconds) / len(seconds)
    other = folder / options.check
    shutil.rmtree(other, ignore_errors=True)
    began = time.monotonic()
    if options.check == "kills":
        kill_children(other, options.items, options.kills, suite, options.seed, rest)
    elif options.check == "two":
        two_at_once(other, suite)
    elif options.check == "index":
        by_index(other, options.items, suite)
    elif options.check == "slurm":
        with_slurm(other, suite)
    else:
        with_ray(other, suite)
    print(f"{options.check}: {time.monotonic() - began:.0f} s", flush=True)
    compare(serial, other, options.items)
    again = bench("run", suite, "--output", other)
    if ", 0 to run" not in again.stdout:
        raise SystemExit(f"a second call had something to do:\n{again.stdout}")
    print("a second call did nothing")


if __name__ == "__main__":
    main()
