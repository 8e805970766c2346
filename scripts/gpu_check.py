"""What a GPU makes of this program, in nine minutes: one table of speed, the GPU tests, the suite clue11.

    scripts/gpu_check.sh [--seconds 520] [--folder build/gpu]
    scripts/gpu_check.sh --rehearse

JAX alone, TensorFlow need not be there. The table: training steps and evaluation batches of base and large
at 128 and 512 tokens, bfloat16, dropout 0.1, first as a run computes them by default, then with cuDNN's
attention (no attention dropout). "of peak" is the FLOPs of a step's matrix products, counted from the shapes
with padding, by the time, as a share of what one large bfloat16 product reaches here, in this run; FLOPs of
what is recomputed or not a product do not count. Each network has a process of its own (``gpu_cells``); where
it does not fit into memory, its rows are halved. The suite trains a small network for a few updates on
each task's sample.

The time is divided: what is left out for lack of it is said where it happens and in the last line.
``--rehearse`` goes the same way on a processor with tiny shapes, and says so in the table's heading.
Exit code: 0; 1 where a part failed or was left out; 2 where there is no GPU, or a package is missing.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from cells import run_cell

ROOT = Path(__file__).resolve().parents[1]
CELLS = str(Path(__file__).with_name("gpu_cells.py"))
SECONDS = 520  # of nine minutes
# The share of the time after which each part must have ended: an early end leaves its rest to the next one.
ENDS = {"table": 0.5, "tests": 0.62, "suite": 1.0}
LEAST = 25  # seconds: less is not begun
HALVINGS = 3
SUITE = "clue11"
PACKAGES = ("jax", "keras", "numpy", "scipy", "sklearn", "ml_dtypes", "psutil", "pydantic", "yaml", "click")
PACKAGES += ("rich", "jinja2", "tokenizers", "safetensors", "pooch", "nltk")
COLUMNS = ("network", "tokens", "attention", "what", "rows at once", "rows/s", "TFLOP/s", "of peak")
COLUMNS += ("peak GiB", "first call s")
GIB = 2**30


class Place(NamedTuple):
    """Where it runs: which networks stand for base and large, and how much each part does."""

    device: str
    networks: dict[str, str]
    work: dict[str, list[tuple[int, int]]]
    forms: tuple[str, ...]
    product: int  # width of the matrices that the peak is measured with
    model: str  # of the suite
    workers: int


def place(rehearse: bool) -> Place:
    """Return what to do on a GPU, or in a rehearsal."""
    from bench_steps import WORK

    if rehearse:
        networks, tiny = dict.fromkeys(("base", "large"), "small"), [(4, 16), (2, 64)]
        return Place("cpu", networks, dict.fromkeys(networks, tiny), ("einsum",), 256, "test", 1)
    networks, workers = {"base": "base", "large": "large"}, max(1, min(3, (os.cpu_count() or 1) // 4))
    return Place("gpu", networks, WORK["gpu"], ("einsum", "fused"), 8192, "tiny", workers)


class Check:
    """One pass through all parts: its clock, what failed and what was left out."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.began, self.seconds, self.folder = time.monotonic(), options.seconds, options.folder
        self.rehearse, self.place = options.rehearse, place(options.rehearse)
        self.failed: list[str] = []
        self.left_out: list[str] = []

    def left(self, part: str) -> float:
        """Return the seconds until a part must have ended."""
        return self.seconds * ENDS[part] - (time.monotonic() - self.began)

    def leave_out(self, what: str, why: str = "lack of time") -> None:
        """Say that something is not done."""
        self.left_out.append(what)
        print(f"LEFT OUT for {why}: {what}", flush=True)

    def cell(self, part: str, **job: Any) -> dict[str, Any]:
        """Run a job of this script in a process of its own."""
        job = {"backend": "jax", "device": self.place.device, **job}
        return run_cell(job, CELLS, limit=max(1.0, self.left(part)))

    def table(self) -> None:
        """Print the table, a row as soon as it is measured."""
        device = self.cell("table", what="device", product=self.place.product)
        if "error" in device:
            raise SystemExit(f"the device could not be looked at: {device['error']}")
        title = f"{device['text']}, {device['versions']}, bfloat16"
        if self.rehearse:
            title = f"REHEARSAL ON A PROCESSOR WITH TINY NETWORKS, NOT FIGURES OF A GPU ({title})"
        product = self.place.product
        print(f"## {title}\n")
        print(f"peak: {device['flops'] / 1e12:.3g} TFLOP/s, a product of {product} x {product}\n")
        print(f"| {' | '.join(COLUMNS)} |\n{'|---' * len(COLUMNS)}|", flush=True)
        waiting = []
        for form in self.place.forms:
            for name in self.place.networks:
                for rows, length in self.place.work[name]:
                    if self.left("table") < LEAST:
                        waiting.append(f"{name} at {length} tokens, {form}")
                    else:
                        self.rows_of(name, form, rows, length, device["flops"])
        print(flush=True)
        for what in waiting:  # below the table, so that it stays one
            self.leave_out(what)

    def rows_of(self, name: str, form: str, rows: int, length: int, peak: float) -> None:
        """Print the rows of a network, training and evaluation."""
        from bench_steps import SHAPES, product_flops

        network = self.place.networks[name]
        found: dict[str, Any] = {}
        for _ in range(HALVINGS + 1):
            found = self.cell("table", what="steps", network=network, form=form, rows=rows, length=length)
            if "RESOURCE_EXHAUSTED" not in found.get("error", "") or rows == 1:
                break
            rows //= 2
        head = [name if network == name else f"{network}, for {name}", length, form]
        if "error" in found:
            kind = self.left_out if found.get("late") else self.failed
            kind.append(f"{name} at {length} tokens, {form}")
            print(f"| {' | '.join(map(str, head))} | {found['error']} |" + " |" * 6, flush=True)
            return
        for what, times in (("train", 3), ("evaluate", 1)):
            one = found[what]
            rate = times * product_flops(SHAPES[network], rows, length) / one["seconds"]
            cells = [*head, what, rows, f"{rows / one['seconds']:,.0f}", f"{rate / 1e12:.3g}"]
            cells += [f"{rate / peak:.1%}", f"{one['peak'] / GIB:.1f}", f"{one['first']:.1f}"]
            print(f"| {' | '.join(map(str, cells))} |", flush=True)

    def program(self, part: str, command: Sequence[str]) -> None:
        """Run a command within its time, its output shown and kept; SIGTERM ends it, then SIGKILL."""
        if self.left(part) < LEAST:
            self.leave_out(part)
            return
        print(f"## {part}: {' '.join(command)}\n", flush=True)
        log = self.folder / f"{part}.log"
        limit = self.left(part)
        with log.open("w", encoding="utf-8") as output:
            process = subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT)
            try:
                code = process.wait(limit)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGTERM)
                code = None
                try:
                    process.wait(10)
                except subprocess.TimeoutExpired:
                    process.kill()
        print(log.read_text(encoding="utf-8", errors="replace"), flush=True)
        if code is None:
            self.leave_out(f"the rest of {part}, stopped after {limit:.0f} s")
        elif code:
            self.failed.append(part)
            print(f"{part} failed with exit code {code}", flush=True)

    def tests(self) -> None:
        """Run the GPU tests; in a rehearsal they are all skipped."""
        if importlib.util.find_spec("pytest") is None:
            self.leave_out("tests", "want of pytest")
            return
        self.program("tests", [sys.executable, "-m", "pytest", "-v", "-m", "gpu", "tests/gpu"])

    def suite(self) -> None:
        """Run the suite on the samples that ship."""
        path = self.folder / f"{SUITE}-sample.yaml"
        path.write_text(json.dumps(sample_suite(self.place)), encoding="utf-8")  # JSON is YAML
        runs = self.folder / "runs"
        command = [sys.executable, "-m", "clue_runner", "bench", "run", str(path), "--output", str(runs)]
        self.program("suite", [*command, "--workers", str(self.place.workers)])
        for task in sample_suite(self.place)["tasks"]:
            if not any(runs.glob(f"{task}/*/metrics.json")):
                self.leave_out(f"{task} of the suite", "want of a result")


def sample_suite(where: Place) -> dict[str, Any]:
    """Return the shipped suite's tasks with one small model, a few updates, the samples."""
    import yaml

    shipped = yaml.safe_load((ROOT / "configs" / "suites" / f"{SUITE}.yaml").read_text(encoding="utf-8"))
    return {
        "title": f"{shipped['title']}, a few updates on the samples that ship: scores mean nothing",
        "models": [where.model],
        "tasks": shipped["tasks"],
        "seeds": [1],
        "average": True,
        "config": ["smoke"],
        "settings": {"train.max_steps": 4},
        "data": "sample",
        "backend": "jax",
        "device": where.device,
    }


def problems(rehearse: bool) -> Iterator[str]:
    """Yield what is missing before anything can begin."""
    if missing := [name for name in PACKAGES if importlib.util.find_spec(name) is None]:
        yield f"these packages are missing: {', '.join(missing)}; scripts/gpu_check.sh lists all it needs"
        return
    if rehearse:
        return
    look = "import jax; print(sum(one.platform in ('gpu', 'cuda', 'rocm') for one in jax.devices()))"
    done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=False)
    if done.returncode or done.stdout.strip() in {"", "0"}:
        said = done.stderr.strip().rpartition("\n")[2] if done.returncode else ""
        yield (
            f"JAX sees no GPU: nothing can be measured{': ' if said else ''}{said}. Install jax[cuda13], or "
            "rehearse the same path on this processor: scripts/gpu_check.sh --rehearse"
        )


def main() -> int:
    """Run all parts; return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rehearse", action="store_true", help="on a processor, with tiny shapes")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="for everything; default: %(default)s")
    parser.add_argument("--folder", type=Path, default=Path("build/gpu"), help="for logs and runs")
    options = parser.parse_args()
    if found := list(problems(options.rehearse)):
        print("\n".join(found), file=sys.stderr)
        return 2
    options.folder = options.folder.resolve()
    options.folder.mkdir(parents=True, exist_ok=True)
    check = Check(options)
    check.table()
    check.tests()
    check.suite()
    print(f"\n{time.monotonic() - check.began:.0f} of {check.seconds:.0f} s; logs are in {check.folder}")
    print(
        f"failed: {'; '.join(check.failed) or 'nothing'}; left out: {'; '.join(check.left_out) or 'nothing'}"
    )
    return int(bool(check.failed or check.left_out))


if __name__ == "__main__":
    sys.exit(main())
