"""The processes of ``bench_growth``: one size of one axis, measured.

In: a job as ``cells.run_cell`` hands it over: a kind and its sizes. Out: ``seconds`` by the clock,
``processor`` seconds, ``growth`` of the resident bytes at the peak, as JSON on the last line. A command runs
inside the process, after a small one of its kind, so that imports are not measured. Knows nothing about what
is compared.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from cells import reset_peak, resident

VOCABULARY = Path(__file__).resolve().parents[1] / "configs" / "models" / "vocab" / "zh.txt"
SUITE = "growth.yaml"


def measured(action: Callable[[], Any]) -> dict[str, Any]:
    """Return what an action cost."""
    before = reset_peak()
    started, used = time.perf_counter(), time.process_time()
    action()
    clock, processor = time.perf_counter() - started, time.process_time() - used
    return {"seconds": clock, "processor": processor, "growth": resident("VmHWM") - before}


def clue(*arguments: object) -> None:
    """Run a command in this process; one that fails ends it."""
    from clue_runner.cli.main import run

    code = run(["--quiet", *map(str, arguments)])
    if code:
        raise SystemExit(f"clue {arguments[0]} ended with {code}")


# ------------------------------------------------------------------------ whole runs


def make_task(folder: Path, *, labels: int, base: int, rows: dict[str, int]) -> None:
    """Write a card and its splits: ``base`` texts of 16 characters by a fixed draw, again and again."""
    from clue_runner.data.own_card import card_text

    pieces = VOCABULARY.read_text(encoding="utf-8").split("\n")
    characters = [piece for piece in pieces if len(piece) == 1 and "一" <= piece <= "龥"]
    draw = random.Random(1)
    texts = ["".join(draw.choices(characters, k=16)) for _ in range(base)]
    names = [f"label {number}" for number in range(labels)]
    folder.mkdir()
    splits = {split: split != "test" for split in rows}
    card = card_text("growth", "growth", ["sentence"], names, splits, 32)
    (folder / "task.yaml").write_text(card, encoding="utf-8")
    for split, count in rows.items():
        with (folder / f"{split}.json").open("w", encoding="utf-8") as lines:
            for row in range(count):
                record = {"sentence": texts[row % base]}
                record |= {"label": names[row % labels]} if splits[split] else {"id": row}
                lines.write(f"{json.dumps(record, ensure_ascii=False)}\n")


def train(task: Path, output: Path, job: dict[str, Any]) -> None:
    """Train one epoch, score dev, predict test."""
    settings = {"train.epochs": 1, "train.batch_size": 32, "data.cache": "false"}
    clue(
        *("train", "--task", task, "--data", task, "--model", "test", "--output", output),
        *("--backend", job["backend"], "--device", "cpu"),
        *(part for name, value in settings.items() for part in ("--set", f"{name}={value}")),
    )


def whole_run(job: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Measure a training command with its predictions; a small one has loaded all there is to load."""
    rows = {"train": job["train"], "dev": job["dev"], "test": job["test"]}
    small = {"train": 64, "dev": 16, "test": 1}
    make_task(folder / "small", labels=2, base=job["base"], rows=small)
    make_task(folder / "task", labels=job["labels"], base=job["base"], rows=rows)
    train(folder / "small", folder / "warm", job)
    return measured(lambda: train(folder / "task", folder / "run", job))


# ------------------------------------------------------------------------ run folders side by side


def one_run(folder: Path, job: dict[str, Any]) -> Path:
    """Return a finished run on a sample, made by a suite of one item."""
    runs = folder / "first"
    bench(folder, "run", 1, job, "--output", runs)
    (run,) = runs.glob("afqmc/*")
    return run


def bench(folder: Path, what: str, seeds: int, job: dict[str, Any], *more: object) -> None:
    """Call ``clue bench`` on a suite with so many seeds."""
    suite = {
        "title": "runs side by side", "models": ["test"], "tasks": ["afqmc"],
        "seeds": list(range(1, seeds + 1)), "config": ["smoke"], "data": "sample",
        "backend": job["backend"], "device": "cpu", "precision": "float32",
    }  # fmt: skip
    (folder / SUITE).write_text(json.dumps(suite), encoding="utf-8")  # JSON is YAML
    clue("bench", what, folder / SUITE, *more)


def copies(run: Path, target: Path, count: int) -> None:
    """Copy a finished run so often, each copy with the next seed in its settings and its result."""
    from clue_runner.adapters.sections import SECTIONS
    from clue_runner.config.resolved import config_hash
    from clue_runner.runs.folder import RunFolder, write_settings
    from clue_runner.runs.results import write_result

    settings, result = RunFolder(run).run(SECTIONS), RunFolder(run).result()
    if settings is None or result is None:
        raise RuntimeError(f"no finished run in {run}")
    for seed in range(1, count + 1):
        copy = RunFolder(target / f"run-{seed}")
        shutil.copytree(run, copy.path, copy_function=_copy)
        seeded = settings.model_copy(update={"seed": seed})
        write_settings(copy, seeded, SECTIONS)
        own = {"seed": seed, "config_sha256": config_hash(seeded)}
        write_result(copy.metrics, result.model_copy(update=own))


def _copy(source: str, target: str) -> None:
    """Copy a file; weights, which nobody writes to, are one file under many names."""
    (os.link if source.endswith(".safetensors") else shutil.copy2)(source, target)


def side_by_side(job: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Measure ``submit pack``, ``report`` and ``bench collect`` on so many run folders, each after one.

    Raises:
        RuntimeError: a command left some out, so that its cost means nothing.
    """
    run, count = one_run(folder, job), job["folders"]
    one, many, packed = folder / "one", folder / "many", folder / "submit.zip"
    copies(run, one, 1)
    copies(run, many, count)
    allowed = [part for reason in ("random", "sample", "mixed") for part in ("--allow", reason)]

    def submit(runs: Path) -> None:
        clue("submit", "pack", runs, "--output", packed, "--data", "sample", *allowed)

    def report(runs: Path) -> None:
        clue("report", runs, "--language", "en")

    def collect(runs: Path) -> None:
        seeds = count if runs == many else 1
        bench(folder, "collect", seeds, job, runs, "--output", folder / f"{runs.name}-collected")

    found = {}
    for command in (submit, report, collect):
        command(one)
        found[command.__name__] = measured(partial(command, many))
    pages = len(list(many.glob("*/report.html")))
    table = json.loads((folder / "many-collected" / "collected.json").read_text(encoding="utf-8"))
    rows = sum(row["state"] == "ok" for row in table["rows"])
    if (pages, rows) != (count, count):
        raise RuntimeError(f"of {count} runs, report took {pages} and collect {rows}")
    return found


# ------------------------------------------------------------------------ single steps


def one_step(job: dict[str, Any]) -> dict[str, Any]:
    """Measure a training step as ``bench_lengths`` does; its processor time is not apart."""
    from bench_lengths import work

    found = work({"device": "cpu", "recompute": "none", "attention_dropout": 0.1, **job})
    return {"seconds": found["seconds"], "growth": found["growth"]}


def work(job: dict[str, Any]) -> dict[str, Any]:
    """Do one job in a folder of its own."""
    if job["kind"] == "step":
        return one_step(job)
    kinds = {"run": whole_run, "folders": side_by_side}
    with tempfile.TemporaryDirectory(prefix="clue-growth-") as folder:
        return kinds[job["kind"]](job, Path(folder))


if __name__ == "__main__":
    print(json.dumps(work(json.loads(sys.argv[2]))))
