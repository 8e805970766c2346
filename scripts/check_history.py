"""Trains every network, cut into runs and into micro-batches in many ways; no bit may know of it.

In: a backend. Out: a line for each case, exit 1 where a state that was taken out and put back after every one
of 150 steps leads elsewhere than going on without. The networks are those of tests/unit/engines.

    python scripts/check_history.py --backend tensorflow
"""

from __future__ import annotations

import argparse
import os
import sys
from itertools import product
from pathlib import Path


def main() -> None:
    """Check every case and print what differs."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--backend", choices=["tensorflow", "jax"], default="tensorflow")
    parser.add_argument("--steps", type=int, default=150)
    options = parser.parse_args()
    os.environ["KERAS_BACKEND"] = options.backend
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "unit" / "engines"))
    from functools import partial

    import test_history
    from small_networks import NETWORKS, random_update

    from clue_runner.engines.rules import rule_names

    failed = 0
    cases = product(NETWORKS, rule_names(), ("float32", "bfloat16"), (1, 3))
    for network, rule, precision, micro_batches in cases:
        updates = partial(random_update, micro_batches=micro_batches)
        unbroken, renewed = (
            test_history.trained(
                test_history.engine_of(network, rule, precision),
                renewed=renewed,
                updates=updates,
                steps=options.steps,
            )
            for renewed in (False, True)
        )
        different = test_history.differences(unbroken, renewed)
        failed += bool(different)
        shown = ", ".join(different) or "equal"
        print(f"{network}, {rule}, {precision}, {micro_batches} micro-batches: {shown}", flush=True)
    print(f"{failed} cases differ" if failed else "all equal")
    raise SystemExit(bool(failed))


if __name__ == "__main__":
    main()
