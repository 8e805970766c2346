"""Peak memory and time of one training step by length of the rows and form of attention.

    python scripts/bench_lengths.py                         (tiny, one row, TensorFlow on a CPU)
    python scripts/bench_lengths.py --backend jax --device gpu --shape base large --forms einsum fused

Each figure comes from a fresh process that runs the real engine with a classifier. On a CPU: after a step
on a short row the kernel's peak mark is reset (/proc/self/clear_refs), a step at full length runs, and the
peak of the resident set minus its size before is the growth. On a GPU: ``peak_bytes_in_use`` minus the
state's bytes. With JAX the compiler's word on the step's temporary memory stands beside it. Dropout 0.1;
none on attention where the fused kernel is among the forms, which has none.
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

from bench_steps import classifier_engine, make_update

MIB = 2**20
SHAPES: dict[str, dict[str, int]] = {
    "tiny": {"num_layers": 4, "hidden_dim": 312, "num_heads": 12, "intermediate_dim": 1248},
    "base": {"num_layers": 12, "hidden_dim": 768, "num_heads": 12, "intermediate_dim": 3072},
    "large": {"num_layers": 24, "hidden_dim": 1024, "num_heads": 16, "intermediate_dim": 4096},
}


def make_engine(job: dict[str, Any]) -> tuple[Any, str]:
    """Return the real engine with a classifier, and the kind of device it runs on."""
    from clue_runner.config.loader import load_run
    from clue_runner.training.devices import choose_device, choose_jit, set_backend

    set_backend(job["backend"])
    device = choose_device(job["backend"], job["device"])
    jit = choose_jit("auto", job["backend"], device).value == "on"
    changes: dict[str, Any] = {
        **SHAPES[job["shape"]],
        "positions": "hierarchical",
        "recompute": job["recompute"],
        "attention_dropout": job["attention_dropout"],
    }
    overrides = [f"model.{key}={value}" for key, value in changes.items()]
    model = load_run(task="afqmc", card_settings={}, model="tiny", overrides=overrides).model
    model = model.model_copy(update={"attention": job["form"]})
    engine = classifier_engine(
        model, backend=job["backend"], precision=job["precision"], jit=jit, vocab_size=3000
    )
    return engine, device.kind


def resident(field: str) -> int:
    """Return VmRSS or VmHWM of this process in bytes."""
    found = re.search(rf"{field}:\s+(\d+)", Path("/proc/self/status").read_text(encoding="utf-8"))
    assert found is not None
    return 1024 * int(found.group(1))


def work(job: dict[str, Any]) -> dict[str, Any]:
    """Measure one setting in this process."""
    engine, device = make_engine(job)
    full = make_update(job["rows"], job["length"])
    taken = iter(range(1000))

    def step(update: dict[str, Any]) -> float:
        started = time.perf_counter()
        assert engine.step(update, update_index=next(taken), learning_rate=1e-5)().finite
        return time.perf_counter() - started

    found: dict[str, Any] = {}
    if hasattr(engine, "step_memory"):
        found["compiled"] = engine.step_memory(full)["temporary"]
    if device == "gpu":
        import jax

        step(full)
        kept = sum(value.nbytes for value in jax.tree.leaves(engine.state))
        found["growth"] = (jax.devices()[0].memory_stats() or {})["peak_bytes_in_use"] - kept
    else:
        step(full if job["backend"] == "jax" else make_update(1, 16))
        gc.collect()
        ctypes.CDLL("libc.so.6").malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        before = resident("VmRSS")
        step(full)
        found["growth"] = resident("VmHWM") - before
    found["seconds"] = statistics.median(step(full) for _ in range(job["count"]))
    return found


def measure(job: dict[str, Any]) -> dict[str, Any]:
    """Run one measurement in a process of its own."""
    environment = {key: value for key, value in os.environ.items() if key != "KERAS_BACKEND"}
    environment |= {"TF_CPP_MIN_LOG_LEVEL": "3", "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    done = subprocess.run(
        [sys.executable, __file__, "--worker", json.dumps(job)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        return {"error": done.stderr.strip().rpartition("\n")[2][:200] or f"exit {done.returncode}"}
    found: dict[str, Any] = json.loads(done.stdout.strip().rpartition("\n")[2])
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
                    print(row_of(job, measure(job)), flush=True)


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
