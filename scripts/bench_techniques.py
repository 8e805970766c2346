"""What each technique and update rule costs a step, as a ratio to plain AdamW in the same process.

    KERAS_BACKEND=tensorflow python scripts/bench_techniques.py [--rounds 12] [--preset tiny] [--length 64]

Every engine takes one step in turn, so that what else the machine does meets all of them; printed is the
median over the rounds of (its seconds / plain's seconds of that round). Random weights and tokens, float32.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from support.engines import make_engine, updates

from clue_runner.engines.techniques import make_techniques

CASES: dict[str, Mapping[str, Any]] = {
    "plain": {},
    "fgm": {"fgm": 0.5},
    "gradient_penalty": {"gradient_penalty": 0.5},
    "r_drop": {"r_drop": 4.0},
    "label_smoothing": {"label_smoothing": 0.1},
    "focal": {"focal": 2.0},
    "multi_sample_dropout": {"multi_sample_dropout": 5},
    "lookahead": {"lookahead": 5},
    "ema": {"ema": 0.999},
}
RULES = ("radam", "adafactor", "lamb", "lion")
ENGINE = ("lookahead", "ema")


def engine_of(preset: str, vocabulary: int, values: Mapping[str, Any], rule: str = "adamw") -> Any:
    """Return an engine with dropout 0.1."""
    own = {key: value for key, value in values.items() if key in ENGINE}
    techniques = make_techniques(values)
    return make_engine(
        0.1, preset=preset, vocab_size=vocabulary, optimizer=rule, techniques=techniques, **own
    )


def main() -> None:
    """Measure and print one line a case."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--preset", default="tiny")
    parser.add_argument("--length", type=int, default=64)
    parser.add_argument("--vocabulary", type=int, default=21128)
    parser.add_argument("--cases", default="", help="names, separated by commas; plain is always there")
    arguments = parser.parse_args()
    wanted = {"plain", *filter(None, arguments.cases.split(","))} if arguments.cases else {*CASES, *RULES}
    sizes = arguments.preset, arguments.vocabulary
    engines = {name: engine_of(*sizes, one) for name, one in CASES.items() if name in wanted}
    engines |= {name: engine_of(*sizes, {}, name) for name in RULES if name in wanted}
    batches = updates(arguments.rounds + 2, (arguments.length,))
    seconds: dict[str, list[float]] = {name: [] for name in engines}
    for number, batch in enumerate(batches):
        for name, engine in engines.items():
            began = time.perf_counter()
            engine.step(batch, update_index=number, learning_rate=1e-4)()
            seconds[name].append(time.perf_counter() - began)
    plain = np.array(seconds["plain"][2:])
    print(f"{arguments.preset}, 32 rows of {arguments.length} tokens, plain: {np.median(plain):.3f} s a step")
    for name, found in seconds.items():
        ratios = np.array(found[2:]) / plain
        print(f"{name:<22} {np.median(ratios):.2f}  ({ratios.min():.2f} to {ratios.max():.2f})", flush=True)


if __name__ == "__main__":
    main()
