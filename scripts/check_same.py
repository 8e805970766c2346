"""Shows that two commits do the same: weights, scores and predictions after some steps of each adapter.

In: ``record``: a working tree and the Python that runs it; only its command line is used, so that one
script serves commits whose insides differ. ``compare``: two records. Out: a JSON file with the sha256 of
every tensor of the last saved state, the scores and the predictions, the weights themselves in an .npz
beside it; a table of what is equal and what is not, exit 1 on any difference.

    python scripts/check_same.py record before.json --project ../before
    python scripts/check_same.py record after.json
    python scripts/check_same.py compare before.json after.json

``--backend`` and ``--task`` choose a part of the cases in both.

Each case runs twice, with dropout and without: masks that are drawn anew move the first and not the second.
Equal bits are to be expected on one machine with the same versions and as many cores; both are recorded.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import platform
import runpy
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file

STEPS = 20
COMMON = {"train.max_steps": STEPS, "train.precision": "float32", "data.max_length": 64}
NO_DROPOUT = {"model.dropout": 0, "model.attention_dropout": 0, "model.head_dropout": 0}
NOT_OF_DGCNN = {"model.attention_dropout"}  # it has no attention between tokens, and refuses the setting
READING = {"data.max_length": 96, "data.window_stride": 32, "data.limit_train": 96, "data.limit_dev": 16}
ROWS = {"train.batch_size": 8}
# A span head finds nothing before some 150 steps; answers that are all empty would prove nothing.
LONGER = {
    "train.max_steps": 200,
    "train.epochs": 20,
    "train.batch_size": 16,
    "train.patience": "null",
    "train.learning_rate": 0.01,
}
TAGS = {"train.learning_rate": 0.03}
# Case -> task, model and what it sets besides.
CASES: Mapping[str, tuple[str, str, Mapping[str, object]]] = {
    "afqmc": ("afqmc", "test", {}),
    "afqmc/radam": (
        "afqmc",
        "test",
        {"train.optimizer": "radam", "train.ema": 0.9, "train.accumulate": 4, "train.schedule": "cosine"},
    ),
    "afqmc/positions": (
        "afqmc",
        "test",
        {
            "model.positions": "hierarchical",
            "model.recompute": "sublayer",
            "model.attention": "chunked",
            "model.pooling": "mean",
            "train.drop_tokens": 0.1,
        },
    ),
    "cluener/globalpointer": ("cluener", "test", {**LONGER, "model.entity_head": "globalpointer"}),
    "cluener/efficient": ("cluener", "test", {**LONGER, "model.entity_head": "efficient"}),
    "cluener/crf": ("cluener", "test", {**TAGS, "model.entity_head": "crf"}),
    "cluener/softmax": ("cluener", "test", {**TAGS, "model.entity_head": "softmax"}),
    "cmrc2018/globalpointer": ("cmrc2018", "test", {**READING, "model.answer_head": "globalpointer"}),
    "cmrc2018/start_end": ("cmrc2018", "test", {**READING, "model.answer_head": "start_end"}),
    "c3": ("c3", "test", ROWS),
    "chid": ("chid", "test", ROWS),
    "webqa": (
        "webqa",
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
VARIANTS: Mapping[str, Mapping[str, object]] = {"dropout": {}, "no dropout": NO_DROPOUT}
BACKENDS = ("tensorflow", "jax")
METRICS = ("ok", "score", "scores", "steps", "epochs", "examples", "best_step", "history")


def sha256(raw: bytes) -> str:
    """Return the hash of bytes in hexadecimal."""
    return hashlib.sha256(raw).hexdigest()


# Recording: this file starts itself once for each (task, backend), in the project's folder.


def arguments_of(
    case: str, variant: str, backend: str, folder: Path, renamed: Mapping[str, str]
) -> list[str]:
    """Return the command line of a case, settings under the names that the project knows them by."""
    task, model, further = CASES[case]
    words = ["train", "--task", task, "--data", "sample", "--model", model, "--backend", backend]
    words += ["--device", "cpu", "--output", str(folder)]
    for key, value in {**COMMON, **further, **VARIANTS[variant]}.items():
        if model == "dgcnn" and key in NOT_OF_DGCNN:
            continue
        words += ["--set", f"{renamed.get(key, key)}={value}"]
    return words


def run_clue(words: list[str]) -> tuple[int, str]:
    """Do what ``python -m clue_runner ...`` does, in this process; return exit code and output."""
    sys.argv = ["clue", *words]
    said = io.StringIO()
    with redirect_stdout(said), redirect_stderr(said):
        try:
            runpy.run_module("clue_runner", run_name="__main__")
            code = 0
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    return code, said.getvalue()


def last_state(folder: Path) -> Path:
    """Return the folder of the last saved state."""
    name = (folder / "checkpoints" / "last").read_text(encoding="utf-8").strip()
    return folder / "checkpoints" / name


def read_run(folder: Path, case: str, arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """Return what must not change of a finished run; its weights are added to ``arrays``."""
    tensors = {}
    for path in sorted(last_state(folder).glob("*.safetensors")):
        for name, values in load_file(path).items():
            key = f"{path.stem}/{name}"
            tensors[key] = sha256(f"{values.dtype}{values.shape}".encode() + values.tobytes())
            if path.stem == "weights":
                arrays[f"{case}/{key}"] = values
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    files = [path for part in ("predictions", "submission") for path in sorted((folder / part).iterdir())]
    return {
        "tensors": tensors,
        "metrics": {name: metrics.get(name) for name in METRICS},
        "files": {path.relative_to(folder).as_posix(): sha256(path.read_bytes()) for path in files},
    }


def work(backend: str, task: str, output: Path, renamed: Mapping[str, str]) -> None:
    """Run all cases of a task on a backend and write what they gave."""
    arrays: dict[str, np.ndarray] = {}
    results: dict[str, Any] = {}
    for case in [case for case, (name, _, _) in CASES.items() if name == task]:
        for variant in VARIANTS:
            full = f"{backend}/{case}/{variant}"
            folder = output / full.replace("/", "-").replace(" ", "-")
            code, said = run_clue(arguments_of(case, variant, backend, folder, renamed))
            results[full] = (
                read_run(folder, full, arrays) if code == 0 else {"exit": code, "said": said[-4000:]}
            )
    np.savez(output / f"{backend}-{task}.npz", **arrays)  # type: ignore[arg-type]
    (output / f"{backend}-{task}.json").write_text(json.dumps(results), encoding="utf-8")


def start_worker(options: argparse.Namespace, backend: str, task: str, folder: Path) -> tuple[int, str]:
    """Run one (task, backend) in its own process; return exit code and output."""
    words = [options.python, str(Path(__file__).resolve()), "work", str(folder)]
    words += ["--backend", backend, "--task", task]
    words += [text for pair in options.rename for text in ("--rename", pair)]
    environment = {
        **os.environ,
        "KERAS_BACKEND": backend,
        "PYTHONPATH": str(options.project.resolve()),
        "CLUE_HOME": str(folder / "home"),
    }
    outcome = subprocess.run(
        words, env=environment, cwd=options.project, capture_output=True, text=True, encoding="utf-8"
    )
    return outcome.returncode, outcome.stdout + outcome.stderr


def commit_of(project: Path) -> str:
    """Return a working tree's commit, with a plus sign where files differ from it."""
    git = ["git", "-C", str(project)]
    commit = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True).stdout.strip()
    changed = subprocess.run(
        [*git, "status", "--porcelain", "--untracked-files=no"], capture_output=True, text=True
    )
    return f"{commit}{'+' if changed.stdout.strip() else ''}"


def record(options: argparse.Namespace) -> int:
    """Run every case and write the record; return the exit code."""
    tasks = list(dict.fromkeys(task for task, _, _ in CASES.values()))
    tasks = [task for task in tasks if not options.task or task in options.task]
    cases: dict[str, Any] = {}
    arrays: dict[str, np.ndarray] = {}
    with tempfile.TemporaryDirectory(prefix="check-same-") as folder:
        for backend in options.backend or BACKENDS:
            for task in tasks:
                started = time.monotonic()
                code, said = start_worker(options, backend, task, Path(folder))
                if code != 0:
                    raise SystemExit(f"{backend}/{task}: the worker ended with {code}\n{said}")
                path = Path(folder) / f"{backend}-{task}.json"
                cases |= json.loads(path.read_text(encoding="utf-8"))
                with np.load(path.with_suffix(".npz")) as stored:
                    arrays |= {name: stored[name] for name in stored.files}
                print(f"{backend}/{task}: {time.monotonic() - started:.0f} s", flush=True)
    content = {
        "commit": commit_of(options.project),
        "machine": f"{processor()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "cases": cases,
    }
    options.output.write_text(json.dumps(content, indent=1), encoding="utf-8")
    np.savez(options.output.with_suffix(".npz"), **arrays)  # type: ignore[arg-type]
    failed = {case: result for case, result in cases.items() if "exit" in result}
    for case, result in failed.items():
        print(f"FAILED {case}: exit {result['exit']}\n{result['said']}")
    print(f"{len(cases) - len(failed)} of {len(cases)} cases recorded in {options.output}")
    return 1 if failed else 0


def processor() -> str:
    """Return the processor's model where the system says it."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()


# Comparing


def renamed_tensors(before: Mapping[str, str], after: Mapping[str, str]) -> dict[str, str]:
    """Match names that only one side has by their content: old name -> new name."""
    free = defaultdict(list)
    for name in sorted(after.keys() - before.keys()):
        free[after[name]].append(name)
    gone = sorted(before.keys() - after.keys())
    return {name: free[before[name]].pop(0) for name in gone if free[before[name]]}


def tensor_differences(
    case: str, before: Mapping[str, str], after: Mapping[str, str], arrays: tuple[Any, Any]
) -> Iterator[str]:
    """Yield what differs between the tensors of two runs."""
    renamed = renamed_tensors(before, after)
    kinds: Counter[str] = Counter()
    largest = ("", 0.0)
    for name in sorted(before.keys() - renamed.keys()):
        if name not in after:
            yield f"{name} is gone"
        elif before[name] != after[name]:
            kinds[name.split("/")[0]] += 1
            old, new = (stored.get(f"{case}/{name}") for stored in arrays)
            if old is not None and new is not None and old.shape == new.shape:
                largest = max(largest, (name, float(np.max(np.abs(old - new)))), key=lambda pair: pair[1])
            elif old is not None and new is not None:
                yield f"{name} has shape {new.shape} instead of {old.shape}"
    for name in sorted(after.keys() - before.keys() - set(renamed.values())):
        yield f"{name} is new"
    for kind, count in sorted(kinds.items()):
        yield f"{count} tensors of {kind} differ"
    if largest[0]:
        yield f"largest difference {largest[1]:.2e} in {largest[0]}"


def metric_differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    """Yield what differs between the numbers of two runs."""
    for name in METRICS:
        if name != "history" and before[name] != after[name]:
            yield f"{name} {before[name]} became {after[name]}"
    if before["history"] != after["history"]:
        losses = [
            [evaluation.get("loss") for evaluation in side["history"] or []] for side in (before, after)
        ]
        yield f"history differs; losses {losses[0]} became {losses[1]}"


def case_differences(
    case: str, before: Mapping[str, Any], after: Mapping[str, Any] | None, arrays: tuple[Any, Any]
) -> dict[str, list[str]]:
    """Return what differs between two runs of a case, by part."""
    if after is None:
        return {"run": ["missing in the second record"]}
    failed = [f"exit {side['exit']}" for side in (before, after) if "exit" in side]
    if failed:
        return {"run": failed}
    names = before["files"].keys() | after["files"].keys()
    files = sorted(name for name in names if before["files"].get(name) != after["files"].get(name))
    return {
        "tensors": list(tensor_differences(case, before["tensors"], after["tensors"], arrays)),
        "metrics": list(metric_differences(before["metrics"], after["metrics"])),
        "files": files,
    }


def chosen(case: str, options: argparse.Namespace) -> bool:
    """Return whether a case is among those that were asked for."""
    backend, name, *_ = case.split("/")
    return (not options.backend or backend in options.backend) and (not options.task or name in options.task)


def compare(options: argparse.Namespace) -> int:
    """Print the table; return 1 where anything differs."""
    sides = [json.loads(path.read_text(encoding="utf-8")) for path in (options.before, options.after)]
    for path, side in zip((options.before, options.after), sides, strict=True):
        print(f"{path}: commit {side['commit']}, {side['machine']}")
    if sides[0]["machine"] != sides[1]["machine"]:
        print("these are different machines: equal bits are not to be expected")
    stored = [np.load(path.with_suffix(".npz")) for path in (options.before, options.after)]
    before, after = (
        {case: result for case, result in side["cases"].items() if chosen(case, options)} for side in sides
    )
    different = 0
    for case, first in before.items():
        wrong = case_differences(case, first, after.get(case), (stored[0], stored[1]))
        words = [f"{part} {'differ' if lines else 'equal'}" for part, lines in wrong.items()]
        print(f"{case:44s} {'  '.join(words)}")
        for part, lines in wrong.items():
            for line in lines:
                print(f"    {part}: {line}")
        different += any(wrong.values())
    for case in after.keys() - before.keys():
        print(f"{case:44s} only in {options.after}")
        different += 1
    print(f"{len(before) - different} of {len(before)} cases equal" if before else "no cases")
    return 1 if different or not before else 0


def main() -> int:
    """Parse the command line and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    recording = commands.add_parser("record", help="run every case and write what it gave")
    recording.add_argument("output", type=Path)
    recording.add_argument("--project", type=Path, default=Path(__file__).resolve().parents[1])
    recording.add_argument("--python", default=sys.executable)
    worker = commands.add_parser("work", help="what record starts, once for each task and backend")
    worker.add_argument("output", type=Path)
    worker.add_argument("--backend", choices=BACKENDS, required=True)
    worker.add_argument("--task", required=True)
    for command in (recording, worker):
        command.add_argument(
            "--rename",
            action="append",
            default=[],
            metavar="OLD=NEW",
            help="a setting's name in that project",
        )
    comparing = commands.add_parser("compare", help="print what two records do not share")
    comparing.add_argument("before", type=Path)
    comparing.add_argument("after", type=Path)
    for command in (recording, comparing):
        command.add_argument("--backend", action="append", choices=BACKENDS, help="default: both")
        command.add_argument("--task", action="append", help="default: all")
    options = parser.parse_args()
    if options.command == "compare":
        return compare(options)
    if options.command == "record":
        return record(options)
    work(options.backend, options.task, options.output, dict(pair.split("=", 1) for pair in options.rename))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
