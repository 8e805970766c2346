"""Shows that recomputation changes no number, how much memory it saves and what it costs.

    python scripts/check_recompute.py [equal] [memory] [shape] [gpu] [--backend B...] [--output FILE]

``equal``   2 layers of 32, dropout 0.1, 20 steps through the real engines: losses and final weights with each
            mode equal those without, on TensorFlow with and without XLA, in float32 (1e-6) and bfloat16, in
            one and two micro-batches. Compiled bfloat16 is held to 1e-6 where XLA may not keep more digits
            than bfloat16 has between fused operations (--xla_allow_excess_precision=false), and to a loss of
            2e-4 with XLA's own setting, under which a graph that is fused in another way rounds elsewhere.
``memory``  12 layers of 256, 16 rows of 256 tokens, TensorFlow on a CPU without XLA: growth of the resident
            set in one step of a fresh process (peak mark reset before it, a small step traced before that)
            and processor seconds of a step; ``block`` needs at most 1/3.5 of the memory and 1.4 of the time.
``shape``   12 layers of 256, 8 rows of 128 tokens, JAX with the CPU scheduler that saves memory: temporary
            bytes and operations of the compiled gradient for segments of 1 to 12 blocks: least at one or two
            blocks (3.5 times less), rising from there, and nothing saved with all in one segment. 48 thin
            layers, where inputs of segments weigh as much as their insides: falling, least between 2 and 4
            blocks, rising (the published U).
``gpu``     the gradient of BERT-base and BERT-large at 512 tokens, JAX on a GPU: temporary bytes, seconds.

Exit 0 where all claims hold. Every cell is a process of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

PARTS = ("equal", "memory", "shape")
MODES = ("sublayer", "block", "segment:2")
RATE, STEPS = 1e-3, 20
LOSS_BFLOAT16, WEIGHT_BFLOAT16 = 2e-4, 2 * RATE  # a gradient near 0 that changes sign turns Adam's step round
MEMORY_SCHEDULER = "--xla_cpu_scheduler_type=CPU_SCHEDULER_TYPE_MEMORY_OPTIMIZED"
NO_EXCESS = "--xla_allow_excess_precision=false"
SMALL = {"num_layers": 2, "hidden_dim": 32, "num_heads": 2, "intermediate_dim": 64}
DEEP = {"num_layers": 12, "hidden_dim": 256, "num_heads": 4, "intermediate_dim": 1024}
BASE = {"num_layers": 12, "hidden_dim": 768, "num_heads": 12, "intermediate_dim": 3072}
LARGE = {"num_layers": 24, "hidden_dim": 1024, "num_heads": 16, "intermediate_dim": 4096}
THIN = {"num_layers": 48, "hidden_dim": 128, "num_heads": 1, "intermediate_dim": 128}
SHAPES = {"small": SMALL, "deep": DEEP, "base": BASE, "large": LARGE, "thin": THIN}


def make_engine(job: dict[str, Any]) -> Any:
    """Return the real engine with a classifier on a backbone of the job's shape, dropout 0.1 everywhere."""
    from clue_runner.config.loader import load_run
    from clue_runner.models.build import build_backbone
    from clue_runner.models.heads import ClassificationHead
    from clue_runner.training.engines import EngineSettings, create_engine

    changes: dict[str, Any] = {f"model.{key}": value for key, value in SHAPES[job["shape"]].items()}
    changes |= {"model.dropout": 0.1, "model.attention_dropout": 0.1, "model.recompute": job["mode"]}
    changes |= {"model.recompute_policy": job.get("policy", "nothing"), "backend": job["backend"]}
    overrides = [f"{key}={value}" for key, value in changes.items()]
    model = load_run(task="afqmc", card_settings={}, model="tiny", overrides=overrides).model
    settings = EngineSettings(
        precision=job["precision"], jit=job["xla"], beta_1=0.9, beta_2=0.999, epsilon=1e-6,
        weight_decay=0.01, clip_norm=1.0, ema=None, seed=42,
    )  # fmt: skip
    engine = create_engine(job["backend"])
    engine.init(
        lambda: ClassificationHead(
            build_backbone(model, job["vocab"], dtype_policy=job["precision"], seed=1), 3
        ),
        settings,
        {},
    )
    return engine


def make_update(job: dict[str, Any], micro: int, rows: int, length: int, seed: int = 0) -> dict[str, Any]:
    """Return one update of rows of uneven lengths (of full rows where memory is measured)."""
    generator = np.random.default_rng(seed)
    shape = (micro, rows, length)
    shortest = 2 if job["part"] == "equal" else length
    lengths = generator.integers(shortest, length + 1, shape[:2]).astype(np.int32)
    inside = np.arange(length) < lengths[..., None]
    return {
        "token_ids": np.where(inside, generator.integers(1, job["vocab"], shape), 0).astype(np.int32),
        "segment_ids": np.where(inside, generator.integers(0, 2, shape), 0).astype(np.int32),
        "lengths": lengths,
        "label": generator.integers(0, 3, shape[:2]).astype(np.int32),
        "weight": np.ones(shape[:2], np.float32),
    }


# ------------------------------------------------------------------------ equal


def train(job: dict[str, Any], micro: int) -> tuple[Any, Any]:
    """Return the losses of the steps and the weights after them."""
    engine = make_engine(job)
    losses = []
    for at in range(STEPS):
        update = make_update(job, micro, 32 // micro, 16, seed=at)
        losses.append(engine.step(update, update_index=at, learning_rate=RATE)().loss)
    return np.array(losses), engine.get_weights(averaged=False)


def equal(job: dict[str, Any]) -> dict[str, Any]:
    """Compare every mode with ``none`` for one backend, compiler and precision."""
    policies = ("dots", "everything") if job["backend"] == "jax" else ()
    kinds = [(mode, "nothing") for mode in MODES] + [("block", policy) for policy in policies]
    found = []
    for micro in (1, 2):
        losses, weights = train(job | {"mode": "none"}, micro)
        for mode, policy in kinds:
            other, changed = train(job | {"mode": mode, "policy": policy}, micro)
            by_weight = max(float(np.abs(changed[name] - weights[name]).max()) for name in weights)
            title = mode if policy == "nothing" else f"{mode}, {policy}"
            by_loss = float(np.abs(other - losses).max())
            found.append({"mode": title, "micro": micro, "loss": by_loss, "weight": by_weight})
    return {"rows": found}


# ------------------------------------------------------------------------ memory


def resident(field: str) -> float:
    """Return VmRSS or VmHWM of this process in MiB."""
    for line in Path("/proc/self/status").read_text(encoding="utf-8").split("\n"):
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"no {field} in /proc/self/status")


def memory(job: dict[str, Any]) -> dict[str, Any]:
    """Measure the growth of the resident set in one step, and processor seconds of steps."""
    engine = make_engine(job)
    full = make_update(job, 1, 16, 256)
    small = full if job["xla"] else make_update(job, 1, 2, 8)
    engine.step(small, update_index=0, learning_rate=RATE)()
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak mark falls to what is in use
    before = resident("VmRSS")
    engine.step(full, update_index=1, learning_rate=RATE)()
    growth = resident("VmHWM") - before
    seconds = []
    for at in range(2, 2 + job["repeat"]):
        started, wall = time.process_time(), time.perf_counter()
        engine.step(full, update_index=at, learning_rate=RATE)()
        seconds.append((time.process_time() - started, time.perf_counter() - wall))
    return {
        "growth": growth,
        "processor": min(one[0] for one in seconds),
        "wall": min(one[1] for one in seconds),
    }


# ------------------------------------------------------------------------ shape


def compiled(job: dict[str, Any]) -> dict[str, Any]:
    """Return what XLA says of the compiled gradient, and on a GPU the seconds of a step."""
    import jax

    engine = make_engine(job)
    update = make_update(job, 1, job["rows"], job["length"])
    weights, keys = engine.state["weights"], np.zeros((1, 2), np.int32)
    program = jax.jit(engine._gradients).lower(weights, update, keys).compile()
    costs = program.cost_analysis()
    costs = costs[0] if isinstance(costs, list) else costs
    found = {
        "temporary": program.memory_analysis().temp_size_in_bytes / 2**20,
        "operations": costs["flops"] / 1e9,
    }
    if job["part"] == "gpu":
        jax.block_until_ready(program(weights, update, keys))
        started = time.perf_counter()
        for _ in range(job["repeat"]):
            found_last = program(weights, update, keys)
        jax.block_until_ready(found_last)
        found["seconds"] = (time.perf_counter() - started) / job["repeat"]
    return found


# ------------------------------------------------------------------------ the table


def cell(job: dict[str, Any], flags: str = "") -> dict[str, Any]:
    """Run one job in a fresh process and return its figures."""
    environment = {
        **os.environ,
        "KERAS_BACKEND": job["backend"],
        "TF_CPP_MIN_LOG_LEVEL": "2",
        "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} {flags}".strip(),
    }
    done = subprocess.run(
        [sys.executable, __file__, "--worker", json.dumps(job)],
        env=environment,
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    return dict(json.loads(done.stdout.strip().split("\n")[-1]))


class Table(list[str]):
    """Lines of a Markdown table, each printed as it comes."""

    def __init__(self, heading: str) -> None:
        super().__init__()
        self.add(heading)
        self.add("|---" * heading.count(" | ") + "|---|")

    def add(self, line: str) -> None:
        """Append and print one line."""
        self.append(line)
        print(line, flush=True)


def check_equal(backends: list[str]) -> tuple[Table, list[str]]:
    """Return the table and the claims that fail."""
    table = Table("| backend | compiler | precision | mode | micro-batches | loss differs by | weights by |")
    wrong = []
    shared = {"part": "equal", "shape": "small", "vocab": 150}
    cases = [("tensorflow", False, "float32", ""), ("tensorflow", False, "bfloat16", "")]
    for backend in ("tensorflow", "jax"):
        cases += [(backend, True, "float32", ""), (backend, True, "bfloat16", NO_EXCESS)]
        cases += [(backend, True, "bfloat16", "")]
    for backend, xla, precision, flags in cases:
        if backend not in backends:
            continue
        loose = xla and precision == "bfloat16" and not flags
        limits = (LOSS_BFLOAT16, WEIGHT_BFLOAT16) if loose else (1e-6, 1e-6)
        if precision == "bfloat16" and not xla:
            limits = (LOSS_BFLOAT16, WEIGHT_BFLOAT16)
        compiler = ("XLA, no excess precision" if flags else "XLA") if xla else "graph"
        for row in cell(shared | {"backend": backend, "xla": xla, "precision": precision}, flags)["rows"]:
            line = f"| {backend} | {compiler} | {precision} | {row['mode']} | {row['micro']} "
            table.add(line + f"| {row['loss']:.1e} | {row['weight']:.1e} |")
            if not (row["loss"] <= limits[0] and row["weight"] <= limits[1]):
                wrong.append(table[-1])
    return table, wrong


def check_memory(repeat: int) -> tuple[Table, list[str]]:
    """Return the table and the claims that fail."""
    table = Table("| precision | mode | growth, MiB | times less | processor s | more | wall s |")
    wrong = []
    for precision in ("float32", "bfloat16"):
        plain: dict[str, Any] = {}
        for mode in ("none", *MODES, "segment:3", "segment:6", "segment:12"):
            job = {"part": "memory", "shape": "deep", "vocab": 21128, "backend": "tensorflow", "xla": False}
            found = cell(job | {"precision": precision, "mode": mode, "repeat": repeat})
            plain = plain or found
            less, more = plain["growth"] / found["growth"], found["processor"] / plain["processor"] - 1
            table.add(
                f"| {precision} | {mode} | {found['growth']:,.0f} | {less:.1f} "
                f"| {found['processor']:.2f} | {more:+.0%} | {found['wall']:.2f} |"
            )
            if mode == "block" and not (less >= 3.5 and more <= 0.4):
                wrong.append(table[-1])
    return table, wrong


def check_shape() -> tuple[Table, list[str]]:
    """Return the table and the claims that fail."""
    table = Table("| mode | temporary, MiB | operations, G | more |")
    job = {"part": "shape", "shape": "deep", "vocab": 200, "rows": 8, "length": 128, "backend": "jax"}
    job |= {"precision": "float32", "xla": True}
    kinds = [(mode, "nothing") for mode in ("none", "block")]
    kinds += [(f"segment:{size}", "nothing") for size in (2, 3, 4, 6, 12)]
    kinds += [("sublayer", "nothing"), ("block", "dots"), ("block", "everything")]
    sizes, plain = {}, 0.0
    for mode, policy in kinds:
        found = cell(job | {"mode": mode, "policy": policy}, MEMORY_SCHEDULER)
        plain = plain or found["operations"]
        title = mode if policy == "nothing" else f"{mode}, {policy}"
        sizes[title] = found["temporary"]
        more = found["operations"] / plain - 1
        table.add(f"| {title} | {found['temporary']:,.0f} | {found['operations']:.1f} | {more:+.0%} |")
    rising = [sizes["block"], *(sizes[f"segment:{size}"] for size in (2, 3, 4, 6, 12))]
    least = rising.index(min(rising))
    holds = least <= 1 and rising[least:] == sorted(rising[least:])
    holds = holds and 3.5 * rising[least] <= sizes["none"] and rising[-1] > 0.8 * sizes["none"]
    wrong = [] if holds else [f"short segments should need least, all 12 blocks no less: {sizes}"]
    job |= {"shape": "thin", "rows": 32, "length": 32, "policy": "nothing"}
    bowl = []
    for size in (1, 2, 3, 4, 6, 12):
        found = cell(job | {"mode": f"segment:{size}"}, MEMORY_SCHEDULER)
        bowl.append(found["temporary"])
        table.add(f"| thin, segment:{size} | {found['temporary']:,.1f} | {found['operations']:.1f} | |")
    least = bowl.index(min(bowl))
    if not (1 <= least <= 3 and bowl[: least + 1] == sorted(bowl[: least + 1], reverse=True)) or (
        bowl[least:] != sorted(bowl[least:])
    ):
        wrong.append(f"48 thin blocks: no U over segments of 1, 2, 3, 4, 6, 12: {bowl}")
    return table, wrong


def check_gpu(repeat: int) -> tuple[Table, list[str]]:
    """Return the table and the claims that fail."""
    table = Table("| model | mode | temporary, MiB | times less | seconds | more |")
    wrong = []
    job = {"part": "gpu", "vocab": 21128, "rows": 16, "length": 512, "backend": "jax", "repeat": repeat}
    for shape in ("base", "large"):
        plain: dict[str, Any] = {}
        for mode in ("none", *MODES):
            found = cell(job | {"shape": shape, "mode": mode, "precision": "bfloat16", "xla": True})
            plain = plain or found
            less, more = plain["temporary"] / found["temporary"], found["seconds"] / plain["seconds"] - 1
            table.add(
                f"| {shape} | {mode} | {found['temporary']:,.0f} | {less:.1f} "
                f"| {found['seconds']:.3f} | {more:+.0%} |"
            )
            if mode == "block" and less < 3:
                wrong.append(table[-1])
    return table, wrong


def main() -> int:
    """Run the parts that are asked for and print their tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", choices=[*PARTS, "gpu", []], default=[])
    parser.add_argument("--backend", nargs="+", default=["tensorflow", "jax"])
    parser.add_argument("--repeat", type=int, default=4, help="timed steps; the fastest counts")
    parser.add_argument("--output", type=Path, help="write the tables there too")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        job = json.loads(options.worker)
        work = {"equal": equal, "memory": memory, "shape": compiled, "gpu": compiled}[job["part"]]
        print(json.dumps(work(job)))
        return 0
    checks = {
        "equal": lambda: check_equal(options.backend),
        "memory": lambda: check_memory(options.repeat),
        "shape": check_shape,
        "gpu": lambda: check_gpu(options.repeat),
    }
    failed, text = [], []
    for part in options.parts or PARTS:
        print(f"## {part}\n", flush=True)
        table, wrong = checks[part]()
        text += [f"## {part}", "", *table, ""]
        failed += wrong
        print(flush=True)
    if options.output:
        options.output.write_text("\n".join(text), encoding="utf-8")
    print("all claims hold" if not failed else "\n".join(["these claims fail:", *failed]))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
