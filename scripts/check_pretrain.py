"""Proves of ``clue pretrain``: a killed run loses nothing, memory stays flat, a large file takes little.

In: a text file, a backend. Out: exit 0 where all holds.

    python scripts/check_pretrain.py kills --texts FILE [--backend jax] [--kills 5]
    python scripts/check_pretrain.py memory --texts FILE [--updates 400]
    python scripts/check_pretrain.py large --texts FILE [--megabytes 2000] [--limit 1000] [--processes 2]

``kills``: SIGKILL at random moments, the same command again; weights, optimizer, predictions and the written
checkpoint must equal those of an unbroken run bit for bit, and must not where a saved state was altered.
``memory``: the resident memory of a run, what is mapped from token files left out, in its last third against
its first. ``large``: the texts are repeated, each time under another heading, up to a size; the peak of all
processes that cut them into tokens, added up.
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
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
from check_resume import Command, Moment, alter_saved_state, differences, random_moments, total_steps

from clue_runner.data.texts.documents import FileTexts
from clue_runner.runs.snapshots import pointed

SETTINGS: Mapping[str, object] = {
    "data.max_length": 64,
    "data.limit_train": 480,
    "data.limit_dev": 32,
    "train.epochs": 3,
    "train.batch_size": 16,
    "train.save_steps": 7,
    "train.evaluate_steps": 40,
    "task.longest_run": 3,
}
GROWTH = 32 << 20  # bytes of the last third over the first that are no growth


class Pretraining(Command):
    """One ``clue pretrain`` command line, run again and again in one folder."""

    def __init__(
        self, folder: Path, backend: str, cache: Path, texts: Path, settings: Mapping[str, object]
    ) -> None:
        super().__init__(folder, backend, cache, {})
        program = [sys.executable, "-m", "clue_runner", "pretrain", "--texts", str(texts)]
        program += ["--heldout-share", "0.05"]
        self.arguments = [*program, "--model", "test", "--backend", backend, "--output", str(folder)]
        for key, value in settings.items():
            self.arguments += ["--set", f"{key}={value}"]


def content(folder: Path) -> dict[str, Any]:
    """Return everything of a finished run that must not depend on how often it was stopped."""
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    found = {key: metrics[key] for key in ("score", "scores", "steps", "best_step", "history", "identity")}
    for name in ("best", "last"):
        snapshot = pointed(folder / "checkpoints", name)
        assert snapshot is not None, f"no {name} in {folder}"
        for path in sorted(snapshot.glob("*.safetensors")):
            found[f"{name}: {path.name}"] = path.read_bytes()
    for path in (folder / "predictions" / "dev.jsonl", folder / "model" / "model.safetensors"):
        found[path.name] = path.read_bytes()
    return found


def check_kills(options: argparse.Namespace, work: Path) -> list[str]:
    """Kill a run and compare; return what failed."""
    unbroken, broken, control = (
        Pretraining(work / name, options.backend, work / "cache", options.texts, SETTINGS)
        for name in ("unbroken", "broken", "control")
    )
    unbroken.finish()
    expected, total = content(unbroken.folder), total_steps(unbroken.folder)
    print(f"unbroken: {total} updates, score {expected['score']:.2f}", flush=True)
    killed = 0
    moments = random_moments(options.kills, total, random.Random(options.seed))
    for moment in moments:
        code, output = broken.stop(moment, signal.SIGKILL)
        if code not in {-signal.SIGKILL, 0}:
            return [f"exit {code}\n{output}"]
        killed += code == -signal.SIGKILL
        print(f"killed after step {moment.step}, +{moment.delay:.2f} s", flush=True)
    broken.finish()
    wrong = differences(expected, content(broken.folder))
    print(f"{killed} kills; differences: {', '.join(wrong) or 'none, bit-equal'}", flush=True)
    failures = [f"after {killed} kills: {name} differs" for name in wrong]
    if killed < len(moments):
        failures.append(f"only {killed} of {len(moments)} kills hit a living run")
    control.stop(Moment(total // 2, "save"), signal.SIGKILL)
    alter_saved_state(control.folder)
    control.finish()
    wrong = differences(expected, content(control.folder))
    print(f"negative control (a state at another update): {len(wrong)} differences", flush=True)
    return failures if wrong else [*failures, "the negative control is equal: the comparison proves nothing"]


def anonymous_bytes(process: int) -> int:
    """Return the resident memory of a process that no file stands behind."""
    for line in Path(f"/proc/{process}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) << 10
    return 0


def check_memory(options: argparse.Namespace, work: Path) -> list[str]:
    """Watch the memory of a run; return what failed."""
    settings = {"data.max_length": 128, "data.limit_dev": 32, "train.max_steps": options.updates}
    settings |= {"train.batch_size": 64, "train.epochs": 50}
    run = Pretraining(work / "run", options.backend, work / "cache", options.texts, settings)
    process, seen = run.start(), []
    events, began = run.folder / "events.jsonl", time.monotonic()
    while process.poll() is None:
        # the first steps load and trace; what is measured comes after the first step event
        if events.exists() and b'"step"' in events.read_bytes()[-2_000:]:
            try:
                seen.append(anonymous_bytes(process.pid))
            except FileNotFoundError:
                break
        time.sleep(0.5)
    output = process.communicate()[0]
    if process.returncode:
        return [f"exit {process.returncode}\n{output}"]
    third = max(1, len(seen) // 3)
    first, last = max(seen[:third]), max(seen[-third:])
    took = time.monotonic() - began
    print(f"{options.updates} updates in {took:.0f} s; {len(seen)} looks: {first:,} then {last:,} bytes")
    return [] if last <= first + GROWTH else [f"memory grew from {first:,} to {last:,} bytes"]


def family_bytes(process: int) -> int:
    """Return the resident memory of a process and of those that it has started; 0 where it has ended."""
    total = 0
    with suppress(psutil.NoSuchProcess):
        head = psutil.Process(process)
        for one in (head, *head.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                total += one.memory_info().rss
    return total


def check_large(options: argparse.Namespace, work: Path) -> list[str]:
    """Cut a large file into tokens; return what failed."""
    path, size = work / "large.txt", 0
    documents = ["\n".join(one) for one in FileTexts(options.texts).documents()]
    with path.open("w", encoding="utf-8") as stream:
        number = 0
        while size < options.megabytes * 10**6:
            for document in documents:
                text = f"第{number}篇\n{document}\n\n"
                stream.write(text)
                size += len(text.encode())
                number += 1
                if size >= options.megabytes * 10**6:
                    break
    del documents
    arguments = [sys.executable, "-m", "clue_runner", "pretrain", "--texts", str(path), "--model", "test"]
    arguments += ["--output", str(work / "run"), "--dry-run", "--set", "data.max_length=512"]
    arguments += ["--processes", str(options.processes)]
    began, peak = time.monotonic(), 0
    with (work / "output.txt").open("w+", encoding="utf-8") as output:
        environment = {**os.environ, "CLUE_HOME": str(work / "home")}
        process = subprocess.Popen(arguments, env=environment, stdout=output, stderr=subprocess.STDOUT)
        while process.poll() is None:
            peak = max(peak, family_bytes(process.pid))
            time.sleep(0.2)
        output.seek(0)
        said = output.read()
    took = time.monotonic() - began
    print(f"{size:,} bytes of text in {took:.0f} s ({size / took / 1e6:.2f} MB/s), peak {peak:,} bytes")
    print("\n".join(said.splitlines()[-12:]))
    failures = [f"exit {process.returncode}\n{said}"] if process.returncode else []
    return failures + ([f"the peak is above {options.limit} MB"] if peak > options.limit * 10**6 else [])


CHECKS = {"kills": check_kills, "memory": check_memory, "large": check_large}


def main() -> int:
    """Parse the command line and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("check", choices=CHECKS)
    parser.add_argument("--texts", type=Path, required=True)
    parser.add_argument("--backend", choices=["tensorflow", "jax"], default="tensorflow")
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--updates", type=int, default=400)
    parser.add_argument("--megabytes", type=int, default=2_000)
    parser.add_argument("--limit", type=int, default=1_000, help="megabytes of memory")
    parser.add_argument("--processes", type=int, default=2, help="that cut texts into tokens")
    options = parser.parse_args()
    options.texts = options.texts.resolve()
    work = Path(tempfile.mkdtemp(prefix="check-pretrain-"))
    try:
        failures = CHECKS[options.check](options, work)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    print("\n".join(failures) if failures else "holds")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
