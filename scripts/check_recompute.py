"""Shows that recomputation changes no number, and how the memory it saves depends on the cut.

    python scripts/check_recompute.py [equal] [shape] [--backend B...] [--output FILE]

``equal``   2 layers of 32, dropout 0.1, 20 steps through the real engines: losses and final weights with each
            mode equal those without, on TensorFlow with and without XLA, in one and two micro-batches: within
            1e-6 in float32; in bfloat16 to a loss of 2e-4, as a graph that is fused in another way sums in
            another order and a sum may round to its other neighbour. JAX's bfloat16 is held to 1e-6 as well
            where XLA may not keep more digits than bfloat16 has (--xla_allow_excess_precision=false).
``shape``   12 layers of 256, 8 rows of 128 tokens, JAX with the CPU scheduler that saves memory: temporary
            bytes and operations of the compiled gradient for segments of 1 to 12 blocks: least at one or two
            blocks (3.5 times less), rising from there, and nothing saved with all in one segment. 48 thin
            layers, where inputs of segments weigh as much as their insides: falling, least between 2 and 4
            blocks, rising (the published U).

Memory and time on this machine, CPU or GPU: ``bench_memory.py``. Exit code 1 where a claim fails. Every cell
is a process of its own.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from bench_steps import classifier_engine, make_update, model_settings
from cells import MEMORY_SCHEDULER, run_cell

PARTS = ("equal", "shape")
MODES = ("sublayer", "block", "segment:2")
RATE, STEPS = 1e-3, 20
LOSS_BFLOAT16, WEIGHT_BFLOAT16 = 2e-4, 2 * RATE  # a gradient near 0 that changes sign turns Adam's step round
NO_EXCESS = "--xla_allow_excess_precision=false"


def make_engine(job: dict[str, Any]) -> Any:
    """Return the real engine with a classifier on a backbone of the job's shape, dropout 0.1 everywhere."""
    model = model_settings(
        job["shape"],
        job["backend"],
        dropout=0.1,
        attention_dropout=0.1,
        recompute=job["mode"],
        recompute_policy=job.get("policy", "nothing"),
    )
    return classifier_engine(
        model, backend=job["backend"], precision=job["precision"], jit=job["xla"], vocab_size=job["vocab"]
    )


# ------------------------------------------------------------------------ equal


def train(job: dict[str, Any], micro: int) -> tuple[Any, Any]:
    """Return the losses of the steps and the weights after them."""
    engine = make_engine(job)
    losses = []
    for at in range(STEPS):
        update = make_update(
            32 // micro, 16, shortest=2, micro_batches=micro, vocab_size=job["vocab"], seed=at
        )
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


# ------------------------------------------------------------------------ shape


def compiled(job: dict[str, Any]) -> dict[str, Any]:
    """Return what XLA says of the compiled gradient."""
    import jax

    engine = make_engine(job)
    update = make_update(job["rows"], job["length"], vocab_size=job["vocab"])
    weights, keys = engine.state["weights"], np.zeros((1, 2), np.int32)
    program = jax.jit(engine._gradients).lower(weights, update, keys).compile()
    costs = program.cost_analysis()
    costs = costs[0] if isinstance(costs, list) else costs
    return {
        "temporary": program.memory_analysis().temp_size_in_bytes / 2**20,
        "operations": costs["flops"] / 1e9,
    }


# ------------------------------------------------------------------------ the table


def cell(job: dict[str, Any], flags: str) -> dict[str, Any]:
    """Run one job in a fresh process and return its figures, or stop."""
    found = run_cell(job, __file__, flags=flags)
    if "error" in found:
        raise SystemExit(f"{job['backend']} {job['part']}: {found['error']}")
    return found


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
    exact, rounded = (1e-6, 1e-6), (LOSS_BFLOAT16, WEIGHT_BFLOAT16)
    cases = [
        (backend, xla, precision, "", exact if precision == "float32" else rounded)
        for backend, xla in (("tensorflow", False), ("tensorflow", True), ("jax", True))
        for precision in ("float32", "bfloat16")
    ]
    cases.append(("jax", True, "bfloat16", NO_EXCESS, exact))
    for backend, xla, precision, flags, limits in cases:
        if backend not in backends:
            continue
        compiler = ("XLA, no excess precision" if flags else "XLA") if xla else "graph"
        for row in cell(shared | {"backend": backend, "xla": xla, "precision": precision}, flags)["rows"]:
            line = f"| {backend} | {compiler} | {precision} | {row['mode']} | {row['micro']} "
            table.add(line + f"| {row['loss']:.1e} | {row['weight']:.1e} |")
            if not (row["loss"] <= limits[0] and row["weight"] <= limits[1]):
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
    for size in (1, 2, 3, 4, 6):
        found = cell(job | {"mode": f"segment:{size}"}, MEMORY_SCHEDULER)
        bowl.append(found["temporary"])
        table.add(f"| thin, segment:{size} | {found['temporary']:,.1f} | {found['operations']:.1f} | |")
    least = bowl.index(min(bowl))
    if not (1 <= least <= 3 and bowl[: least + 1] == sorted(bowl[: least + 1], reverse=True)) or (
        bowl[least:] != sorted(bowl[least:])
    ):
        wrong.append(f"48 thin blocks: no U over segments of 1, 2, 3, 4, 6: {bowl}")
    return table, wrong


def main() -> int:
    """Run the parts that are asked for and print their tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], default=[])
    parser.add_argument("--backend", nargs="+", default=["tensorflow", "jax"])
    parser.add_argument("--output", type=Path, help="write the tables there too")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        job = json.loads(options.worker)
        print(json.dumps({"equal": equal, "shape": compiled}[job["part"]](job)))
        return 0
    checks = {"equal": lambda: check_equal(options.backend), "shape": check_shape}
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
