"""How much faster a training step is with DropToken: steps with and without it, in turn, in one process.

    python scripts/bench_drop_tokens.py [--backend tensorflow jax] [--share 0.5] [--rows 32] [--length 256]

Fails (exit code 1) where a step at a share of 0.5 is less than 1.4 times as fast.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import sys
from typing import Any

from bench_steps import classifier_engine, make_update, model_settings
from cells import side_by_side

LEAST = 1.4  # at a share of one half


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

    from clue_runner.engines.devices import choose_device, choose_jit, set_backend

    set_backend(options.backend)
    device = choose_device(options.backend, options.device)
    jit = choose_jit("auto", options.backend, device).value == "on"
    update = make_update(options.rows, options.length)
    model, index = model_settings("tiny", options.backend), itertools.count()

    def step(engine: Any) -> None:
        engine.step(update, update_index=next(index), learning_rate=1e-5)()

    steps = {}
    for share in (options.share, 0.0):
        engine = classifier_engine(
            model, backend=options.backend, precision=options.precision, jit=jit, drop_share=share
        )
        steps[f"{share:g}"] = functools.partial(step, engine)
        for _ in range(2):  # the first ones trace and compile
            step(engine)
    dropping, plain = side_by_side(steps, options.count).values()
    print(
        f"{device.text}, {options.precision}, {options.rows} x {options.length}, share {options.share:g}: "
        f"{1000 * plain.clock:.0f} ms without, {1000 * dropping.clock:.0f} ms with, "
        f"{plain.clock_ratio:.2f} times as fast ({plain.processor_ratio:.2f} in processor time)"
    )
    ratios = (plain.clock_ratio, plain.processor_ratio)
    return int(options.share == 0.5 and max(ratios) < LEAST)


if __name__ == "__main__":
    sys.exit(main())
