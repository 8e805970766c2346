"""Peak memory and time of one training step by length of the rows and form of attention.

    python scripts/bench_lengths.py                         (tiny, one row, TensorFlow on a CPU)
    python scripts/bench_lengths.py --backend jax --device gpu --shape base large --forms einsum fused

Each figure comes from a fresh process that runs the real engine with a classifier (``cells``). With JAX the
compiler's word on the step's temporary memory stands beside it. Dropout 0.1; none on attention where the
fused kernel is among the forms, which has none.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import time
from typing import Any

from bench_steps import SHAPES, classifier_engine, make_update, model_settings
from cells import MIB, gpu_growth, run_cell, step_growth


def work(job: dict[str, Any]) -> dict[str, Any]:
    """Measure one setting in this process."""
    from clue_runner.engines.devices import choose_device, choose_jit, set_backend

    backend = job["backend"]
    set_backend(backend)
    device = choose_device(backend, job["device"])
    jit = choose_jit("auto", backend, device).value == "on"
    model = model_settings(
        job["shape"],
        backend,
        positions="hierarchical",
        recompute=job["recompute"],
        attention_dropout=job["attention_dropout"],
        **job.get("changes", {}),
    )
    model = model.model_copy(update={"attention": job["form"]})
    engine = classifier_engine(model, backend=backend, precision=job["precision"], jit=jit, vocab_size=3000)
    full, index = make_update(job["rows"], job["length"]), itertools.count()

    def step(update: dict[str, Any]) -> float:
        started = time.perf_counter()
        assert engine.step(update, update_index=next(index), learning_rate=1e-5)().finite
        return time.perf_counter() - started

    found: dict[str, Any] = {}
    if hasattr(engine, "step_memory"):
        found["compiled"] = engine.step_memory(full)["temporary"]
    if device.kind == "gpu":
        step(full)
        found["growth"] = gpu_growth(engine)
    else:
        small = full if backend == "jax" else make_update(1, 16)
        found["growth"] = step_growth(step, full, small, keeps=False)
    found["seconds"] = statistics.median(step(full) for _ in range(job["count"]))
    return found


def main() -> None:
    """Measure every setting and print a Markdown table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--backend", choices=["tensorflow", "jax"], default="tensorflow")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--shape", nargs="*", choices=list(SHAPES), default=["tiny"])
    parser.add_argument("--forms", nargs="*", default=["einsum", "chunked"])
    parser.add_argument("--lengths", nargs="*", type=int, default=[512, 1024, 2048, 4096])
    parser.add_argument("--rows", type=int, default=1)
    parser.add_argument("--recompute", nargs="*", default=["none", "block"])
    parser.add_argument("--precision", choices=["float32", "bfloat16"], default="bfloat16")
    parser.add_argument("--count", type=int, default=3, help="timed steps")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        print(json.dumps(work(json.loads(options.worker))))
        return
    rate = 0.0 if "fused" in options.forms else 0.1
    columns = ("shape", "form", "recompute", "rows x length")
    columns += ("peak growth MiB", "compiled MiB", "KiB a token", "s a step")
    print(f"| {' | '.join(columns)} |")
    print("|---" * len(columns) + "|")
    for shape in options.shape:
        for form in options.forms:
            for recompute in options.recompute:
                for length in options.lengths:
                    job = {
                        "backend": options.backend,
                        "device": options.device,
                        "shape": shape,
                        "form": form,
                        "recompute": recompute,
                        "rows": options.rows,
                        "length": length,
                        "precision": options.precision,
                        "attention_dropout": rate,
                        "count": options.count,
                    }
                    print(row_of(job, run_cell(job, __file__)), flush=True)


def row_of(job: dict[str, Any], found: dict[str, Any]) -> str:
    """Return one line of the table."""
    head = f"| {job['shape']} | {job['form']} | {job['recompute']} | {job['rows']} x {job['length']} "
    if "error" in found:
        return f"{head}| {found['error']} | | | |"
    compiled = f"{found['compiled'] / MIB:.0f}" if "compiled" in found else ""
    each = found["growth"] / 1024 / (job["rows"] * job["length"])
    return f"{head}| {found['growth'] / MIB:.0f} | {compiled} | {each:.1f} | {found['seconds']:.2f} |"


if __name__ == "__main__":
    main()
