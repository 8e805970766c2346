"""Peak memory and time of one training step for every recompute mode.

    python scripts/bench_memory.py [--backend tensorflow jax] [--precision float32 bfloat16] [--xla]
    python scripts/bench_memory.py --predict [--family nezha deberta_v2] [--train fgm=1]
                                                        (clue memory's figure beside the measured one)

Memory: each mode in a process of its own (``cells`` says how). Time: all modes in one process, a step of each
in turn; "time" is the median over the rounds of a mode's step divided by the step without recomputation.
JAX's compiled size (``memory_analysis``, temporary bytes) stands beside the growth, with XLA's default CPU
scheduler and with the one that saves memory.

Exit code 1 where a claim fails: TensorFlow's graph on a CPU needs at least 3.5 times less memory with
``block`` at no more than 1.4 times the time, by the clock or of the processor, whichever others on the
machine disturbed less (12 layers of 256); with ``--predict``, forecasts within 15 %.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from bench_steps import SHAPES, classifier_engine, family_settings, make_update, model_settings
from cells import (
    MEMORY_SCHEDULER,
    MIB,
    Figures,
    gpu_growth,
    resident,
    save_svg,
    side_by_side,
    step_growth,
    svg_plots,
)

MODES = ("none", "sublayer", "block", "segment:2", "segment:3", "segment:4", "segment:6", "segment:12")
# The settings that forecasts are judged on: model, rows, length. The factors of the counted forecast were
# fitted to "deep" and "tiny"; "wide" was kept apart.
JUDGED = (("deep", 16, 256), ("wide", 16, 192), ("tiny", 32, 128))
JUDGED_MODES = ("none", "sublayer", "block")
WITHIN = 0.15
LEAST_SAVED, MOST_TIME = 3.5, 1.4
SMALL = (2, 16)  # rows and length of the step that warms up
VOCAB, RATE = 21128, 0.1

Job = dict[str, Any]


# ------------------------------------------------------------------------ in the processes


def settings(job: Job, mode: str) -> Any:
    """Return the ``model`` settings of one measurement."""
    options = {"recompute": mode, "dropout": RATE, "attention_dropout": RATE}
    if "family" in job:
        return family_settings(job["family"], job["shape"], **options)
    longest = max(512, job["length"])
    return model_settings(job["shape"], job["backend"], **options, max_positions=longest)


def settings_of_training(job: Job) -> dict[str, Any]:
    """Return the settings ``train:`` of a job, whose techniques are judged."""
    from clue_runner.adapters.sections import load_run

    overrides = [f"backend={job['backend']}", *(f"train.{text}" for text in job.get("train", []))]
    run = load_run(task="afqmc", card_settings={}, model="tiny", overrides=overrides)
    return run.train.model_dump()


def prepare(job: Job) -> tuple[Any, bool]:
    """Choose backend and device; return the device and whether XLA compiles."""
    from clue_runner.engines.devices import choose_device, choose_jit, set_backend

    set_backend(job["backend"])
    device = choose_device(job["backend"], job["device"])
    return device, choose_jit("on" if job["xla"] else "auto", job["backend"], device).value == "on"


def work(job: Job) -> dict[str, Any]:
    """Measure the memory of one mode, or the times of all."""
    device, jit = prepare(job)
    full, small = (make_update(*size, shortest=size[1]) for size in ((job["rows"], job["length"]), SMALL))
    index = itertools.count()

    def step(engine: Any, update: Any) -> None:
        engine.step(update, update_index=next(index), learning_rate=1e-5)()

    def engine_of(mode: str) -> Any:
        return classifier_engine(
            settings(job, mode),
            backend=job["backend"],
            precision=job["precision"],
            jit=jit,
            vocab_size=VOCAB,
            train=settings_of_training(job),
        )

    if "modes" in job:
        steps = {}
        for mode in job["modes"]:
            steps[mode] = functools.partial(step, engine_of(mode), full)
            steps[mode]()
            steps[mode]()
        return {"times": {mode: times._asdict() for mode, times in side_by_side(steps, job["count"]).items()}}
    before = resident("VmRSS")
    engine = engine_of(job["mode"])
    found: dict[str, Any] = {"state": resident("VmRSS") - before, "device_name": device.text}
    if job["backend"] == "jax":
        found["compiled"] = engine.step_memory(full)
    one_step = functools.partial(step, engine)
    if device.kind == "gpu":
        one_step(full)
        found["growth"] = gpu_growth(engine)
    else:
        keeps = job["backend"] == "tensorflow" and jit
        found["growth"] = step_growth(one_step, full, full if jit else small, keeps=keeps)
    return found


# ------------------------------------------------------------------------ what is measured


def kinds_of(options: argparse.Namespace) -> list[Job]:
    """Return backends, precisions and compilers to measure, as the start of their jobs."""
    found = []
    for backend in options.backend:
        for precision in options.precision:
            for xla in (False, True) if options.xla and backend == "tensorflow" else (False,):
                for scheduler in options.scheduler if backend == "jax" else ["default"]:
                    found.append(
                        {
                            "backend": backend,
                            "precision": precision,
                            "xla": xla,
                            "scheduler": scheduler,
                            "device": options.device,
                        }
                    )
    return found


def kind_of(job: Job) -> str:
    """Return backend, compiler and precision in words."""
    compiler = " XLA" if job["xla"] else " graph" if job["backend"] == "tensorflow" else ""
    scheduler = ", memory scheduler" if job["scheduler"] == "memory" else ""
    return f"{job['backend']}{compiler} {job['precision']}{scheduler}"


class Measured(Figures):
    """Figures of jobs; those in a file are not measured again."""

    def flags(self, job: Job) -> str:
        """Return the scheduler's flag."""
        return MEMORY_SCHEDULER if job["scheduler"] == "memory" else ""

    def words(self, job: Job) -> str:
        """Return kind, shape and mode."""
        return f"{kind_of(job)} {job['shape']} {job.get('mode', '')}"


# ------------------------------------------------------------------------ memory and time by mode


def mode_table(
    measured: Measured, kind: Job, modes: Sequence[str], count: int
) -> tuple[list[str], list[str]]:
    """Return a Markdown table of one kind, ratios to the first mode, and the claims that fail."""
    lines = [
        f"\n**{kind_of(kind)}**, {kind['shape']}, {kind['rows']} x {kind['length']} tokens\n",
        f"| mode | peak growth MiB | {modes[0]} / this | compiled MiB | ms an example | time "
        "| processor time |",
        "|---|---|---|---|---|---|---|",
    ]
    wrong = []
    cells = [measured.of(kind | {"mode": mode}) for mode in modes]
    times = measured.of(kind | {"modes": list(modes), "count": count}).get("times", {}) if count else {}
    judged = modes[0] == "none" and kind_of(kind).startswith("tensorflow graph") and kind["shape"] == "deep"
    for mode, one in zip(modes, cells, strict=True):
        if "error" in one:
            wrong.append(f"{kind_of(kind)} {mode}: {one['error']}")
            lines.append(f"| {mode} | failed: {one['error']} | | | | | |")
            continue
        saved = cells[0]["growth"] / one["growth"] if "growth" in cells[0] else float("nan")
        row = [mode, f"{one['growth'] / MIB:.0f}", f"{saved:.2f}"]
        row.append(f"{one['compiled']['temporary'] / MIB:.0f}" if "compiled" in one else "")
        taken = times.get(mode)
        row.append(f"{1000 * taken['clock'] / kind['rows']:.0f}" if taken else "")
        row += [f"{taken[key]:.2f}" if taken else "" for key in ("clock_ratio", "processor_ratio")]
        lines.append(f"| {' | '.join(row)} |")
        slow = taken is not None and min(taken["clock_ratio"], taken["processor_ratio"]) > MOST_TIME
        if judged and mode == "block" and (saved < LEAST_SAVED or slow):
            wrong.append(lines[-1])
    return lines, wrong


def plot(measured: Measured, kinds: Sequence[Job], modes: Sequence[str], path: Path) -> None:
    """Draw peak growth over the blocks in a segment, one line a kind; ``none`` is a dotted level."""
    figure, axes = svg_plots().subplots(figsize=(7, 4.2), layout="constrained")
    for number, kind in enumerate(kinds):
        cells = {mode: measured.of(kind | {"mode": mode}) for mode in modes}
        growth = {mode: one["growth"] / MIB for mode, one in cells.items() if "growth" in one}
        sizes = {1: "block"} | {int(mode[8:]): mode for mode in growth if mode.startswith("segment")}
        points = [(size, growth[mode]) for size, mode in sorted(sizes.items()) if mode in growth]
        axes.plot(*zip(*points, strict=True), marker="o", color=f"C{number}", label=kind_of(kind))
        if "none" in growth:
            axes.axhline(growth["none"], color=f"C{number}", linestyle=":", linewidth=1)
    axes.set(
        xlabel="blocks recomputed at once, of 12 (dotted: nothing recomputed)",
        ylabel="peak growth of a step, MiB",
        yscale="log",
        title="12 blocks, width 256, 16 x 256 tokens",
    )
    axes.set_xticks([1, 2, 3, 4, 6, 12])
    axes.legend(fontsize="small")
    save_svg(figure, path)


# ------------------------------------------------------------------------ forecasts


def forecast(job: Job, found: dict[str, Any], *, counted: bool) -> int:
    """Return what ``clue memory`` forecasts for a step: the compiler's word on JAX, else the count."""
    if job["backend"] == "jax" and not counted:
        return int(found["compiled"]["temporary"])
    from clue_runner.adapters.base import MemoryFacts
    from clue_runner.adapters.sections import load_run
    from clue_runner.memory.model import step_need
    from clue_runner.memory.network import network_of

    overrides = [f"backend={job['backend']}", *(f"train.{text}" for text in job.get("train", []))]
    run = load_run(task="afqmc", card_settings={}, model="tiny", overrides=overrides)
    run = run.model_copy(update={"model": settings(job, job["mode"])})
    facts = MemoryFacts(every_token=False)
    network = network_of(run, facts, vocab_size=VOCAB, labels=3, precision=job["precision"])
    return step_need(network, job["rows"], job["length"], job["mode"]).step


def judged_jobs(kinds: Sequence[Job], families: Sequence[str], train: Sequence[str]) -> Iterator[Job]:
    """Yield what forecasts are compared with: every family, shape and mode of every kind."""
    for kind, family, (shape, rows, length) in itertools.product(kinds, families, JUDGED):
        for mode in JUDGED_MODES:
            job = kind | {"shape": shape, "rows": rows, "length": length, "mode": mode}
            # figures that were measured before these two could be chosen stay valid
            job |= {} if family == "bert" else {"family": family}
            yield job | ({"train": list(train)} if train else {})


def forecast_table(measured: Measured, jobs: Iterable[Job], *, counted: bool) -> tuple[list[str], list[str]]:
    """Return measured growth beside the forecast, in Markdown, and the claims that fail."""
    lines = [
        "\n| kind | family | model | mode | forecast MiB | measured MiB | error |",
        "|---|---|---|---|---|---|---|",
    ]
    wrong = []
    for job in jobs:
        one = measured.of(job)
        size = f"{job['shape']} {job['rows']} x {job['length']}"
        more = " ".join(["", *job.get("train", [])])
        head = f"| {kind_of(job)} | {job.get('family', 'bert')} | {size}{more} | {job['mode']} "
        if "error" in one:
            lines.append(f"{head}| | failed: {one['error']} | |")
            wrong.append(lines[-1])
            continue
        expected, growth = forecast(job, one, counted=counted), one["growth"]
        lines.append(f"{head}| {expected / MIB:.0f} | {growth / MIB:.0f} | {expected / growth - 1:+.0%} |")
        if abs(expected / growth - 1) > WITHIN:
            wrong.append(lines[-1])
    return lines, wrong


def main() -> int:
    """Measure, print the tables, draw the plot; return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--backend", nargs="+", choices=["tensorflow", "jax"], default=["tensorflow"])
    parser.add_argument("--precision", nargs="+", choices=["float32", "bfloat16"], default=["float32"])
    parser.add_argument("--modes", nargs="+", default=list(MODES))
    parser.add_argument("--shape", choices=list(SHAPES), default="deep")
    parser.add_argument("--rows", type=int, default=16)
    parser.add_argument("--length", type=int, default=256)
    parser.add_argument("--device", default="cpu", help="cpu, or gpu (JAX)")
    parser.add_argument("--xla", action="store_true", help="TensorFlow with XLA too")
    parser.add_argument("--scheduler", nargs="+", choices=["default", "memory"], default=["default"])
    parser.add_argument("--count", type=int, default=6, help="rounds of timed steps; 0: memory alone")
    parser.add_argument(
        "--predict", action="store_true", help="forecasts beside measurements: 3 models, 3 modes"
    )
    parser.add_argument("--family", nargs="+", default=["bert"], help="with --predict: families of models")
    parser.add_argument("--train", nargs="+", default=[], help="with --predict: settings such as fgm=1")
    parser.add_argument("--counted", action="store_true", help="with --predict: on JAX the count too")
    parser.add_argument("--output", type=Path, help="the plot, such as docs/memory.svg (needs matplotlib)")
    parser.add_argument("--json", type=Path, help="all figures; measurements already in it are not repeated")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        print(json.dumps(work(json.loads(options.worker))))
        return 0
    measured, kinds = Measured(options.json, __file__), kinds_of(options)
    failed = []
    if options.predict:
        jobs = judged_jobs(kinds, options.family, options.train)
        lines, failed = forecast_table(measured, jobs, counted=options.counted)
        print("\n".join(lines))
    else:
        kinds = [
            kind | {"shape": options.shape, "rows": options.rows, "length": options.length} for kind in kinds
        ]
        for kind in kinds:
            lines, wrong = mode_table(measured, kind, options.modes, options.count)
            print("\n".join(lines), flush=True)
            failed += wrong
    if options.output:
        plot(measured, kinds, options.modes, options.output)
    print("\nall claims hold" if not failed else "\n".join(["\nthese claims fail:", *failed]))
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
