"""Every technique with every other, with accumulation, with recomputation, in bfloat16.

    KERAS_BACKEND=tensorflow python scripts/check_techniques.py [--jit] [--only fgm,r_drop]

Each combination is built on the smallest network, takes three updates, and is gone on with from its state
after the second: the third must have the same bits. A combination that refuses must say why. Prints one line
for each and exits with 1 where one fails. Needs no data and no pretrained weights.
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from support.combinations import MODES, TECHNIQUES, outcome_of


def combinations(only: set[str]) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield the names of one technique or two, and a mode."""
    singles = [(name,) for name in TECHNIQUES]
    for names in (*singles, *itertools.combinations(TECHNIQUES, 2)):
        if not only or only & set(names):
            for mode in MODES:
                yield names, mode


def main() -> int:
    """Try all combinations and say what each does."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--jit", action="store_true", help="compile with XLA on TensorFlow too")
    parser.add_argument("--only", default="", help="techniques, of which each combination has one at least")
    arguments = parser.parse_args()
    counts: dict[str, int] = {}
    for names, mode in combinations({name for name in arguments.only.split(",") if name}):
        began = time.monotonic()
        found = outcome_of(names, mode, jit=True if arguments.jit else None)
        counts[found.kind] = counts.get(found.kind, 0) + 1
        words = f"{' + '.join(names):<44} {mode:<14} {found.kind:<8} {found.text}"
        print(f"{words} ({time.monotonic() - began:.1f} s)", flush=True)
    print(", ".join(f"{count} {kind}" for kind, count in sorted(counts.items())))
    return 1 if counts.get("failed") else 0


if __name__ == "__main__":
    sys.exit(main())
