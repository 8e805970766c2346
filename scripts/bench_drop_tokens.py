"""How much faster a training step is with DropToken: steps with and without it, in turn, in one process.

    python scripts/bench_drop_tokens.py [--backend tensorflow jax] [--share 0.5] [--rows 32] [--length 256]

Fails (exit code 1) where a step at a share of 0.5 is less than 1.4 times as fast.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from typing import Any

from bench_steps import classifier_engine, make_update

LEAST = 1.4  # at a share of one half


def make_engine(backend: str, precision: str, share: float, jit: bool) -> Any:
    """Return an engine with a tiny classifier that drops ``share`` of its tokens."""
    from clue_runner.config.loader import load_run

    model = load_run(task="afqmc", card_settings={}, model="tiny").model
    return classifier_engine(model, backend=backend, precision=precision, jit=jit, drop_share=share)


def main() -> int:
    """Measure and print; return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--backend", choices=["tensorflow", "jax"], default="tensorflow")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", choices=["float32", "bfloat16"], default="bfloat16")
    parser.add_argument("--share", type=float, default=0.5)
    parser.add_argument("--rows", type=int, default=32)
    parser.add_argument("--length", type=int, default=256)
    parser.add_argument("--count", type=int, default=10, help="measured steps of each kind")
    options = parser.parse_args()

    from clue_runner.training.devices import choose_device, choose_jit, set_backend

    set_backend(options.backend)
    device = choose_device(options.backend, options.device)
    jit = choose_jit("auto", options.backend, device).value == "on"
    update = make_update(options.rows, options.length)
    engines = {
        share: make_engine(options.backend, options.precision, share, jit) for share in (0.0, options.share)
    }
    clock: dict[float, list[float]] = {share: [] for share in engines}
    used: dict[float, list[float]] = {share: [] for share in engines}
    for index in range(options.count + 2):
        for share, engine in engines.items():
            started, before = time.perf_counter(), time.process_time()
            engine.step(update, update_index=index, learning_rate=1e-5)()
            if index >= 2:  # the first ones trace and compile
                clock[share].append(time.perf_counter() - started)
                used[share].append(time.process_time() - before)
    ratios = [statistics.median(one[0.0]) / statistics.median(one[options.share]) for one in (clock, used)]
    print(
        f"{device.text}, {options.precision}, {options.rows} x {options.length}, share {options.share:g}: "
        f"{1000 * statistics.median(clock[0.0]):.0f} ms without, "
        f"{1000 * statistics.median(clock[options.share]):.0f} ms with, "
        f"{ratios[0]:.2f} times as fast ({ratios[1]:.2f} in processor time)"
    )
    return int(options.share == 0.5 and max(ratios) < LEAST)


if __name__ == "__main__":
    sys.exit(main())
