"""Proves that a killed run loses nothing: kill -9 at random moments, continued by the same command.

In: a backend, a task, a number of kills, a seed. Out: exit 0 where weights, optimizer, metrics and
predictions of the broken run equal those of an unbroken one bit for bit, and where a run whose saved state
was altered on purpose does not (the negative control). On a CPU; about 10 seconds a kill.

    python scripts/check_resume.py --backend tensorflow --kills 20
    python scripts/check_resume.py --task webqa --kills 5
    python scripts/check_resume.py --task c3 --techniques  # accumulation, bfloat16, recomputation, DropToken
    python scripts/check_resume.py --task cluener --runs 2  # two seeds, one after the other
    python scripts/check_resume.py --during-saves  # every kill while a state is being written
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
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from clue_runner.files.atomic import TEMPORARY
from clue_runner.runs.snapshots import list_snapshots, pointed, write_manifest
from clue_runner.runs.states import PREFIX, read_snapshot

SETTINGS = {
    "train.epochs": 8,
    "train.save_steps": 7,
    "train.patience": "null",
    "data.limit_train": 512,
    "data.limit_dev": 64,
    "data.max_length": 32,
    "train.precision": "float32",
    "train.ema": 0.9,
}
READING = {"data.max_length": 96, "data.window_stride": 32, "data.limit_train": 96, "data.limit_dev": 16}
# Task -> its model, and what it sets besides: the reader draws passages anew each epoch.
TASKS: Mapping[str, tuple[str, Mapping[str, object]]] = {
    "afqmc": ("test", {}),
    "cluener": ("test", {}),
    "cmrc2018": ("test", {**READING, "train.epochs": 4}),
    "c3": ("test", {"train.batch_size": 8}),
    "chid": ("test", {"train.batch_size": 8}),
    "webqa": (
        "dgcnn",
        {
            "model.hidden_dim": 16,
            "data.max_length": 96,
            "data.passage_crop": 48,
            "data.negative_share": 0.2,
            "data.min_count": 1,
            "train.batch_size": 32,
        },
    ),
}
# Everything that makes an update of several parts, each of which draws masks of its own.
TECHNIQUES: Mapping[str, object] = {
    "train.accumulate": 2,
    "train.precision": "bfloat16",
    "model.recompute": "block",
    "train.drop_tokens": 0.1,
}
KEEP_TOKENS = {
    "cluener",
    "cmrc2018",
    "chid",
    "webqa",
}  # an answer is about single tokens: none may be missing
# What may differ between two equal runs: clocks, memory, and the commit of a tree that is being worked on.
CLOCKS = ("seconds", "examples_per_second", "peak_memory_bytes", "commit", "config_sha256")
POLL_SECONDS = 0.002
UNFINISHED = f"{TEMPORARY}{PREFIX}"  # how the folder of a state begins that is not whole yet
# With --during-saves: updates between two states, and about how long one of the small network is written.
SAVE_STEPS, SAVE_SECONDS = 2, 0.06
LIMIT_SECONDS = 600


class Command:
    """One ``clue train`` command line, run again and again in one folder.

    Args:
        folder: the run folder; with several ``runs`` the folder of theirs.
        backend: tensorflow or jax.
        cache: for $CLUE_HOME.
        settings: as ``--set`` takes them; the task's own come after them.
        task: one of ``TASKS``.
        runs: of so many seeds, one after the other.
    """

    def __init__(
        self,
        folder: Path,
        backend: str,
        cache: Path,
        settings: Mapping[str, object],
        task: str = "afqmc",
        runs: int = 1,
    ) -> None:
        self.folder, self.runs = folder, runs
        model, further = TASKS[task]
        self.arguments = [sys.executable, "-m", "clue_runner", "train", "--task", task, "--data", "sample"]
        self.arguments += ["--model", model, "--backend", backend, "--output", str(folder)]
        self.arguments += ["--seeds", str(runs)] if runs > 1 else []
        for key, value in {**settings, **further}.items():
            self.arguments += ["--set", f"{key}={value}"]
        self.environment = {
            **os.environ,
            "KERAS_BACKEND": backend,
            "CLUE_HOME": str(cache / "home"),
        }

    def start(self) -> subprocess.Popen[str]:
        """Start the command; its output is kept for messages."""
        return subprocess.Popen(
            self.arguments,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
        )

    def finish(self) -> str:
        """Run the command to its end and return what it printed."""
        process = self.start()
        output, _ = process.communicate(timeout=LIMIT_SECONDS)
        if process.returncode != 0:
            raise AssertionError(f"exit {process.returncode}\n{output}")
        return output

    def stop(self, moment: Moment, number: int) -> tuple[int, str]:
        """Start the command, send it a signal at a moment, and return its exit code and output."""
        process = self.start()
        moment.wait(process, self.folder, self.events_size())
        if process.poll() is None:
            process.send_signal(number)
        output, _ = process.communicate(timeout=LIMIT_SECONDS)
        return process.returncode, output

    def events_size(self) -> int:
        """Return the bytes of events that earlier sittings have written."""
        return len(events_bytes(self.folder))

    def run_folders(self) -> list[Path]:
        """Return the folder of each run, in the order of their seeds."""
        return [self.folder] if self.runs == 1 else sorted(self.folder.glob("seed-*"))


def events_bytes(folder: Path) -> bytes:
    """Return the events of the run in a folder, or of all runs in it, in the order of their seeds."""
    paths = [folder / "events.jsonl", *sorted(folder.glob("seed-*/events.jsonl"))]
    return b"".join(path.read_bytes() for path in paths if path.exists())


class Moment:
    """When to stop a run: after an event of a step, plus a delay; or after seconds alone.

    Args:
        step: an event of this step or a later one must have been written; None: only the delay counts.
        event: its name; None: any.
        delay: seconds after that.
    """

    def __init__(self, step: int | None, event: str | None = None, delay: float = 0.0) -> None:
        self.step, self.event, self.delay = step, event, delay

    def wait(self, process: subprocess.Popen[str], folder: Path, skip: int) -> None:
        """Return when the moment has come or the process has ended."""
        deadline = time.monotonic() + LIMIT_SECONDS
        while self.step is not None and process.poll() is None and not self._seen(folder, skip):
            if time.monotonic() > deadline:
                process.kill()
                raise AssertionError(f"step {self.step} was not reached")
            time.sleep(POLL_SECONDS)
        time.sleep(self.delay)

    def _seen(self, folder: Path, skip: int) -> bool:
        """Return whether the event stands after the first ``skip`` bytes."""
        for line in events_bytes(folder)[skip:].split(b"\n")[:-1]:
            event = json.loads(line)
            late = event.get("event") != "resume" and int(event.get("step", -1)) >= (self.step or 0)
            if late and self.event in {None, event["event"]}:
                return True
        return False


class InSave(Moment):
    """While a state of a step or of a later one is being written, plus a delay."""

    def _seen(self, folder: Path, skip: int) -> bool:
        """Return whether there is a folder that will be such a state; this sitting has swept older ones."""
        if len(events_bytes(folder)) == skip:
            return False
        return any(step >= (self.step or 0) for step in half_written(folder))


def half_written(folder: Path) -> list[int]:
    """Return the steps of unfinished states in the run folder, or in those of all runs in it."""
    paths = [*folder.glob(f"checkpoints/{UNFINISHED}*"), *folder.glob(f"seed-*/checkpoints/{UNFINISHED}*")]
    return [int(path.name.removeprefix(UNFINISHED)) for path in paths]


def save_moments(count: int, total: int, chance: random.Random) -> list[Moment]:
    """Return moments in saves, in the order of a run."""
    steps = sorted(chance.randint(1, total - SAVE_STEPS) for _ in range(count))
    return [InSave(step, None, chance.uniform(0, SAVE_SECONDS)) for step in steps]


def random_moments(count: int, total: int, chance: random.Random) -> list[Moment]:
    """Return moments in the order of a run: in start-up, in steps, saves, evaluations, predictions."""
    starts = max(1, count // 10)
    ends = max(1, count // 10)
    steps = sorted(chance.randint(1, total - 1) for _ in range(count - starts - ends))
    moments = [Moment(step, None, chance.uniform(0, 0.08)) for step in steps]
    moments += [Moment(total, None, chance.uniform(0, 0.05)) for _ in range(ends)]
    for _ in range(starts):
        moments.insert(chance.randrange(len(moments)), Moment(None, None, chance.uniform(0.05, 5.0)))
    return moments


def contents(command: Command) -> dict[str, Any]:
    """Return what ``content`` returns of every run of a command, and the summary of several."""
    found = {}
    for number, folder in enumerate(command.run_folders(), start=1):
        found |= {f"run {number}: {name}": value for name, value in content(folder).items()}
    summary = command.folder / "summary.json"
    return found | ({"summary": summary.read_bytes()} if command.runs > 1 else {})


def content(folder: Path) -> dict[str, Any]:
    """Return everything of a finished run that must not depend on how often it was stopped."""
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    found: dict[str, Any] = {"metrics": {key: value for key, value in metrics.items() if key not in CLOCKS}}
    for name in ("best", "last"):
        snapshot = pointed(folder / "checkpoints", name)
        assert snapshot is not None, f"no {name} in {folder}"
        manifest = json.loads((snapshot / "manifest.json").read_text(encoding="utf-8"))
        progress = json.loads((snapshot / "state.json").read_text(encoding="utf-8"))["progress"]
        hashes = {file: entry["sha256"] for file, entry in manifest["files"].items()}
        del hashes["state.json"]  # holds clocks
        found[name] = hashes
        found[f"{name} progress"] = {key: value for key, value in progress.items() if key != "seconds"}
    for part in ("predictions", "submission"):
        for path in sorted((folder / part).iterdir()):
            found[f"{part}/{path.name}"] = path.read_bytes()
    return found


def differences(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[str]:
    """Return the names of what differs between two runs."""
    return [name for name in sorted(first.keys() | second.keys()) if first.get(name) != second.get(name)]


def alter_saved_state(folder: Path) -> Path:
    """Move the newest state's place in the epoch by one update, with a fresh manifest; return that state."""
    newest = list_snapshots(folder / "checkpoints")[0]
    path = newest / "state.json"
    state = json.loads(path.read_text(encoding="utf-8"))
    state["progress"]["position"] += -1 if state["progress"]["position"] else 1
    path.write_text(json.dumps(state), encoding="utf-8")
    write_manifest(newest)
    return newest


def total_steps(folder: Path) -> int:
    """Return the updates of a finished run."""
    return int(json.loads((folder / "metrics.json").read_text(encoding="utf-8"))["steps"])


def kill_through(command: Command, moments: Sequence[Moment]) -> tuple[int, int]:
    """Kill a run at each moment in turn, and let it end.

    Returns:
        How often it was killed, and how often a state was being written then.

    Raises:
        AssertionError: it ended in another way.
        DamagedFileError: a kill has left a state that is not whole.
    """
    killed = inside = 0
    for number, moment in enumerate(moments, start=1):
        code, output = command.stop(moment, signal.SIGKILL)
        if code not in {-signal.SIGKILL, 0}:
            raise AssertionError(f"exit {code}\n{output}")
        killed += code == -signal.SIGKILL
        unfinished = half_written(command.folder)
        inside += bool(unfinished)
        for folder in command.run_folders():
            for path in list_snapshots(folder / "checkpoints"):
                read_snapshot(path)
        newest = [list_snapshots(folder / "checkpoints")[:1] for folder in command.run_folders()]
        where = ", ".join(path.name for paths in newest for path in paths) or "nothing saved"
        print(
            f"kill {number:2d}: after step {moment.step}, +{moment.delay:.3f} s; newest state: {where}"
            + "".join(f", step {step} half-written" for step in unfinished),
            flush=True,
        )
    command.finish()
    return killed, inside


def settings_of(task: str, *, techniques: bool) -> dict[str, object]:
    """Return the settings of a check."""
    further = dict(TECHNIQUES) if techniques else {}
    if task in KEEP_TOKENS:
        further.pop("train.drop_tokens", None)
    return {**SETTINGS, **further}


def check(options: argparse.Namespace, work: Path) -> list[str]:
    """Run the whole proof in ``work`` and return what failed."""
    settings = settings_of(options.task, techniques=options.techniques)
    if options.during_saves:
        settings["train.save_steps"] = SAVE_STEPS
    unbroken, broken, control = (
        Command(work / name, options.backend, work / "cache", settings, options.task, options.runs)
        for name in ("unbroken", "broken", "control")
    )
    unbroken.finish()
    expected, total = contents(unbroken), total_steps(unbroken.run_folders()[0])
    metrics = expected["run 1: metrics"]
    print(
        f"unbroken: {options.runs} runs of {total} steps, {metrics['precision']}, "
        f"padding {metrics['padding_share']:.0%}, score {metrics['score']:.2f}",
        flush=True,
    )
    failures = [] if metrics["padding_share"] > 0 else ["no row was padded"]
    chance = random.Random(options.seed)
    parts = [options.kills // options.runs] * options.runs
    choose = save_moments if options.during_saves else random_moments
    moments = [moment for part in parts for moment in choose(part, total, chance)]
    killed, inside = kill_through(broken, moments)
    wrong = differences(expected, contents(broken))
    found = ", ".join(wrong) or "none, bit-equal"
    print(f"{killed} kills, {inside} while a state was half-written; differences: {found}", flush=True)
    failures += [f"after {killed} kills: {name} differs" for name in wrong]
    if killed < len(moments):
        failures.append(f"only {killed} of {len(moments)} kills hit a living run")
    if options.during_saves and inside < len(moments) / 2:
        failures.append(f"only {inside} of {len(moments)} kills left a half-written state")

    control.stop(Moment(total // 2, "save"), signal.SIGKILL)
    altered = alter_saved_state(control.run_folders()[0])
    control.finish()
    wrong = differences(expected, contents(control))
    print(f"negative control ({altered.name} stands at another update): {len(wrong)} differences", flush=True)
    if not {"run 1: best", "run 1: last"} & set(wrong):
        failures.append("the negative control ended with the same weights: the comparison proves nothing")
    return failures


def main() -> int:
    """Parse the command line and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--backend", choices=["tensorflow", "jax"], default="tensorflow")
    parser.add_argument("--task", choices=sorted(TASKS), default="afqmc")
    parser.add_argument("--techniques", action="store_true", help=", ".join(map(str, TECHNIQUES)))
    parser.add_argument("--runs", type=int, default=1, help="seeds")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--during-saves", action="store_true", help="every kill while a state is written")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", action="store_true", help="leave the run folders for inspection")
    options = parser.parse_args()
    work = Path(tempfile.mkdtemp(prefix="check-resume-"))
    started = time.monotonic()
    try:
        failures = check(options, work)
    finally:
        if options.keep:
            print(f"run folders: {work}")
        else:
            shutil.rmtree(work, ignore_errors=True)
    for failure in failures:
        print(f"FAILED: {failure}")
    verdict = "failed" if failures else "passed"
    print(f"{options.backend}, {options.task}: {verdict} in {time.monotonic() - started:.0f} s")
    return 1 if failures else 0


if __name__ == "__main__":
    raise SystemExit(main())
