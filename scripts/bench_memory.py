"""Peak memory and time of one training step for every recompute mode, each in a fresh process.

    python scripts/bench_memory.py [--backend tensorflow jax] [--precision float32 bfloat16] [--xla]
    python scripts/bench_memory.py --predict            (clue memory's figure beside the measured one)

How the peak is measured. On a CPU: the engine runs one step of 2 rows of 16 tokens, so that the program is
traced and its libraries are loaded; freed memory goes back to the system (malloc_trim), the kernel's peak
mark is reset (/proc/self/clear_refs), one step at full size runs, and the peak of the resident set minus
its size before is the growth. Where XLA compiles each shape, a step at full size runs before the mark is set,
so that the compiler's own memory is not counted. On a GPU: ``memory_stats()['peak_bytes_in_use']`` of a
fresh process minus the bytes in use before the step. Time is the median of the steps that follow.

JAX's compiled size (``memory_analysis``, temporary bytes) stands beside the growth, with XLA's default CPU
scheduler and with the one that saves memory (XLA_FLAGS=--xla_cpu_scheduler_type=...).
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import os
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

MIB = 2**20
MODES = ("none", "sublayer", "block", "segment:2", "segment:3", "segment:4", "segment:6", "segment:12")
DEEP = {"num_layers": 12, "hidden_dim": 256, "num_heads": 4, "intermediate_dim": 1024}
TINY = {"num_layers": 4, "hidden_dim": 312, "num_heads": 12, "intermediate_dim": 1248}
BASE = {"num_layers": 12, "hidden_dim": 768, "num_heads": 12, "intermediate_dim": 3072}
LARGE = {"num_layers": 24, "hidden_dim": 1024, "num_heads": 16, "intermediate_dim": 4096}
WIDE = {"num_layers": 6, "hidden_dim": 512, "num_heads": 8, "intermediate_dim": 2048}
SHAPES = {"deep": DEEP, "tiny": TINY, "wide": WIDE, "base": BASE, "large": LARGE}
# The settings that forecasts are judged on: model, rows, length. The factors of the counted forecast were
# fitted to "deep" and "tiny"; "wide" was kept apart.
JUDGED = (("deep", 16, 256), ("wide", 16, 192))
JUDGED_MODES = ("none", "sublayer", "block")
MEMORY_SCHEDULER = "--xla_cpu_scheduler_type=CPU_SCHEDULER_TYPE_MEMORY_OPTIMIZED"
SMALL = (2, 16)  # rows and length of the step that warms up


def make_run(job: dict[str, Any]) -> Any:
    """Return the settings of one measurement."""
    from clue_runner.config.loader import load_run

    changes = {f"model.{key}": value for key, value in SHAPES[job["shape"]].items()}
    changes |= {"model.recompute": job["mode"], "train.precision": job["precision"]}
    changes |= {"model.dropout": job["dropout"], "model.attention_dropout": job["dropout"]}
    changes |= {"model.max_positions": max(512, job["length"]), "backend": job["backend"]}
    overrides = [f"{key}={value}" for key, value in changes.items()]
    return load_run(task="afqmc", card_settings={}, model="tiny", overrides=overrides)


def make_engine(job: dict[str, Any], jit: bool) -> Any:
    """Return the real engine with a classifier on top of the shape's backbone."""
    from clue_runner.models.build import build_backbone
    from clue_runner.models.heads import ClassificationHead
    from clue_runner.training.devices import Choice, Device
    from clue_runner.training.engines import create_engine
    from clue_runner.training.network import Choices, engine_settings

    run = make_run(job)
    choices = Choices(
        Device("cpu", 0, "", 1), Choice(job["precision"], ""), Choice("on" if jit else "off", "")
    )
    engine = create_engine(job["backend"])
    engine.init(
        lambda: ClassificationHead(
            build_backbone(run.model, job["vocab"], dtype_policy=job["precision"], seed=1), 3
        ),
        engine_settings(run, choices),
        {},
    )
    return engine


def make_update(rows: int, length: int) -> dict[str, Any]:
    """Return one micro-batch of full rows."""
    generator = np.random.default_rng(0)
    return {
        "token_ids": generator.integers(1, 3000, (1, rows, length)).astype(np.int32),
        "segment_ids": np.zeros((1, rows, length), np.int32),
        "lengths": np.full((1, rows), length, np.int32),
        "label": np.zeros((1, rows), np.int32),
        "weight": np.ones((1, rows), np.float32),
    }


def resident(field: str) -> int:
    """Return VmRSS or VmHWM of this process in bytes."""
    found = re.search(rf"{field}:\s+(\d+)", Path("/proc/self/status").read_text(encoding="utf-8"))
    assert found is not None
    return 1024 * int(found.group(1))


def reset_peak() -> int:
    """Give freed memory back, reset the peak mark; return the resident bytes."""
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return resident("VmRSS")


def work(job: dict[str, Any]) -> dict[str, Any]:
    """Measure one setting in this process."""
    from clue_runner.training.devices import choose_device, choose_jit, set_backend

    set_backend(job["backend"])
    device = choose_device(job["backend"], job["device"])
    jit = choose_jit("on" if job["xla"] else "auto", job["backend"], device).value == "on"
    before_model = resident("VmRSS")
    engine = make_engine(job, jit)
    state = resident("VmRSS") - before_model
    full, small = make_update(job["rows"], job["length"]), make_update(*SMALL)
    taken = iter(range(1000))

    def step(update: dict[str, Any]) -> float:
        started = time.perf_counter()
        engine.step(update, update_index=next(taken), learning_rate=1e-5)()
        return time.perf_counter() - started

    found: dict[str, Any] = {"state": state, "device": device.text}
    if job["backend"] == "jax":
        found["compiled"] = engine.step_memory(full)
    found["first_seconds"] = step(full if job["backend"] == "jax" else small)
    if device.kind == "gpu":
        found["growth"] = gpu_growth(engine)
        step(full)
    else:
        before = reset_peak()
        found["before"] = before - before_model
        step(full)
        peak = resident("VmHWM")
        # TensorFlow keeps what it took; with XLA the peak would hold the compiler's memory too
        found["growth"] = (reset_peak() if job["backend"] == "tensorflow" and jit else peak) - before
    clock = []
    used = []
    for _ in range(job["count"]):
        started = time.process_time()
        clock.append(step(full))
        used.append(time.process_time() - started)
    if clock:
        found["seconds"], found["processor_seconds"] = statistics.median(clock), statistics.median(used)
    return found


def gpu_growth(engine: Any) -> int:
    """Return the peak bytes on the GPU minus those of the state."""
    import jax

    statistics_now = jax.devices()[0].memory_stats()
    kept = sum(value.nbytes for value in jax.tree.leaves(engine.state))
    return int(statistics_now["peak_bytes_in_use"]) - kept


def measure(job: dict[str, Any], timeout: float = 900) -> dict[str, Any]:
    """Run one measurement in a process of its own."""
    environment = {key: value for key, value in os.environ.items() if key != "KERAS_BACKEND"}
    environment |= {"TF_CPP_MIN_LOG_LEVEL": "3", "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    if job["scheduler"] == "memory":
        environment["XLA_FLAGS"] = f"{environment.get('XLA_FLAGS', '')} {MEMORY_SCHEDULER}".strip()
    done = subprocess.run(
        [sys.executable, __file__, "--worker", json.dumps(job)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    if done.returncode:
        return {"error": done.stderr.strip().rpartition("\n")[2][:200] or f"exit {done.returncode}"}
    found: dict[str, Any] = json.loads(done.stdout.strip().rpartition("\n")[2])
    return found


def forecast(job: dict[str, Any], found: dict[str, Any]) -> int:
    """Return what ``clue memory`` forecasts for a step's growth over one that ran before.

    That is all but the weights, their moments and, on TensorFlow, the gradients: it keeps their memory from
    the small step. On JAX it is what the compiler says.
    """
    if job["backend"] == "jax":
        return int(found["compiled"]["temporary"])
    from clue_runner.training.memory_model import network_of, step_need

    network = network_of(
        make_run(job), "classification", vocab_size=job["vocab"], labels=3, precision=job["precision"]
    )
    need = step_need(network, job["rows"], job["length"], job["mode"])
    return need.activations + need.temporary


def jobs(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Return what to measure."""
    settings = [(name, rows, length, JUDGED_MODES) for name, rows, length in JUDGED]
    if not options.predict:
        settings = [("deep", options.rows, options.length, tuple(options.modes))]
    found = []
    for backend in options.backend:
        for precision in options.precision:
            for xla in (False, True) if options.xla and backend == "tensorflow" else (False,):
                for scheduler in options.scheduler if backend == "jax" else ["default"]:
                    found += [
                        {
                            "backend": backend,
                            "precision": precision,
                            "xla": xla,
                            "scheduler": scheduler,
                            "shape": name,
                            "mode": mode,
                            "rows": rows,
                            "length": length,
                            "dropout": 0.1,
                            "vocab": 21128,
                            "device": options.device,
                            "count": options.count,
                        }
                        for name, rows, length, modes in settings
                        for mode in modes
                    ]
    return found


def kind_of(job: dict[str, Any]) -> str:
    """Return backend, compiler and precision in words."""
    compiler = " XLA" if job["xla"] else " graph" if job["backend"] == "tensorflow" else ""
    scheduler = ", memory scheduler" if job["scheduler"] == "memory" else ""
    return f"{job['backend']}{compiler} {job['precision']}{scheduler}"


def mode_tables(results: list[dict[str, Any]]) -> str:
    """Return a Markdown table for each kind: growth and time by mode, with ratios to ``none``."""
    lines: list[str] = []
    for kind in dict.fromkeys(kind_of(one) for one in results):
        group = [one for one in results if kind_of(one) == kind]
        first = group[0]
        lines += [
            f"\n**{kind}**, {first['rows']} x {first['length']} tokens\n",
            "| mode | peak growth MiB | none / this | compiled MiB | ms an example | time | processor time |",
            "|---|---|---|---|---|---|---|",
        ]
        plain = next((one for one in group if one["mode"] == "none" and "error" not in one), None)
        for one in group:
            if "error" in one:
                lines.append(f"| {one['mode']} | failed: {one['error']} | | | | | |")
                continue
            cells = [one["mode"], f"{one['growth'] / MIB:.0f}"]
            cells.append(f"{plain['growth'] / one['growth']:.2f}" if plain else "")
            compiled = one.get("compiled")
            cells.append(f"{compiled['temporary'] / MIB:.0f}" if compiled else "")
            cells.append(f"{1000 * one['seconds'] / one['rows']:.0f}" if "seconds" in one else "")
            for key in ("seconds", "processor_seconds"):
                cells.append(f"{one[key] / plain[key]:.2f}" if plain and key in one and key in plain else "")
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def forecast_table(results: list[dict[str, Any]]) -> str:
    """Return measured growth beside the forecast, in Markdown."""
    lines = ["\n| kind | model | mode | forecast MiB | measured MiB | error |", "|---|---|---|---|---|---|"]
    for one in results:
        if "error" in one:
            lines.append(f"| {kind_of(one)} | {one['shape']} | {one['mode']} | | failed: {one['error']} | |")
            continue
        expected, growth = forecast(one, one), one["growth"]
        lines.append(
            f"| {kind_of(one)} | {one['shape']} {one['rows']} x {one['length']} | {one['mode']} "
            f"| {expected / MIB:.0f} | {growth / MIB:.0f} | {100 * (expected / growth - 1):+.0f} % |"
        )
    return "\n".join(lines)


def plot(results: list[dict[str, Any]], path: Path) -> None:
    """Draw peak growth over the blocks in a segment, one line a kind; ``none`` is a dotted level."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.fonttype"] = "none"  # text stays text
    matplotlib.rcParams["svg.hashsalt"] = "clue"  # the same data gives the same file
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4.2), layout="constrained")
    for number, kind in enumerate(dict.fromkeys(kind_of(one) for one in results)):
        group = {one["mode"]: one for one in results if kind_of(one) == kind and "error" not in one}
        sizes = {1: "block"} | {int(mode[8:]): mode for mode in group if mode.startswith("segment")}
        points = [
            (size, group[mode]["growth"] / MIB) for size, mode in sorted(sizes.items()) if mode in group
        ]
        axes.plot(*zip(*points, strict=True), marker="o", color=f"C{number}", label=kind)
        if "none" in group:
            axes.axhline(group["none"]["growth"] / MIB, color=f"C{number}", linestyle=":", linewidth=1)
    axes.set(
        xlabel="blocks recomputed at once, of 12 (dotted: nothing recomputed)",
        ylabel="peak growth of a step, MiB",
        yscale="log",
        title="12 blocks, width 256, 16 x 256 tokens",
    )
    axes.set_xticks([1, 2, 3, 4, 6, 12])
    axes.legend(fontsize="small")
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    """Measure, print the tables, draw the plot."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--backend", nargs="+", choices=["tensorflow", "jax"], default=["tensorflow"])
    parser.add_argument("--precision", nargs="+", choices=["float32", "bfloat16"], default=["float32"])
    parser.add_argument("--modes", nargs="+", default=list(MODES))
    parser.add_argument("--rows", type=int, default=16)
    parser.add_argument("--length", type=int, default=256)
    parser.add_argument("--device", default="cpu", help="cpu, or gpu (JAX)")
    parser.add_argument("--xla", action="store_true", help="TensorFlow with XLA too")
    parser.add_argument("--scheduler", nargs="+", choices=["default", "memory"], default=["default"])
    parser.add_argument("--count", type=int, default=3, help="timed steps")
    parser.add_argument(
        "--predict", action="store_true", help="forecasts beside measurements: 2 models, 3 modes"
    )
    parser.add_argument("--output", type=Path, help="the plot, such as docs/memory.svg (needs matplotlib)")
    parser.add_argument("--json", type=Path, help="all figures; measurements already in it are not repeated")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        print(json.dumps(work(json.loads(options.worker))))
        return
    known: list[dict[str, Any]] = []
    if options.json and options.json.exists():
        known = json.loads(options.json.read_text(encoding="utf-8"))
    results = []
    for job in jobs(options):
        found = next((one for one in known if job.items() <= one.items()), None)
        if found is None:
            found = {**job, **measure(job)}
            known.append(found)
            if options.json:
                options.json.write_text(json.dumps(known, indent=1), encoding="utf-8")
        results.append(found)
        figure = found.get("error") or f"{found['growth'] / MIB:.0f} MiB"
        print(f"{kind_of(found)} {found['shape']} {found['mode']}: {figure}", file=sys.stderr, flush=True)
    print(forecast_table(results) if options.predict else mode_tables(results))
    if options.output:
        plot(results, options.output)


if __name__ == "__main__":
    main()
