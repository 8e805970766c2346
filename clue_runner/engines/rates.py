"""Learning rates of individual weights: a factor for each, by its layer's depth and by patterns of its name.

In: stable names, settings. Out: a factor for each name. Knows nothing about tensors, rules or families.

Depths as in BEiT (Bao and others 2022): embeddings lie below the first block, the head and a pooler above the
last; each level down multiplies the rate by the decay again. A block that serves every level has no depth
of its own, and counts as one level.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from clue_runner.errors import Problem, UsageError

LAYER = re.compile(r"/(?:block|layer)s?[_/](\d+)/")
EMBEDDINGS = re.compile(r"/embeddings/|/positions/")


def rate_factors(
    names: Iterable[str], layer_decay: float | None, patterns: Sequence[tuple[str, float]] = ()
) -> dict[str, float]:
    """Return the factor of every weight's learning rate.

    Args:
        names: of the trained weights.
        layer_decay: from one level to the one below it; None: 1.
        patterns: (pattern, factor): ``*`` in a pattern stands for anything; the factors of all patterns that
            fit a name are multiplied.

    Raises:
        UsageError: a pattern fits no name.
    """
    names = list(names)
    idle = [pattern for pattern, _ in patterns if not any(fnmatchcase(name, pattern) for name in names)]
    if idle:
        raise UsageError(
            "no weight matches this name",
            where="train.rates",
            problems=[Problem(pattern) for pattern in idle],
            allowed=f"names such as {', '.join(names[:2])}, ..., {names[-1]}; * matches anything",
        )
    top = 1 + max((int(found[1]) + 1 for name in names if (found := LAYER.search(name))), default=0)
    factors = {}
    for name in names:
        factor = 1.0 if layer_decay is None else layer_decay ** (top - _depth(name, top))
        for pattern, times in patterns:
            factor *= times if fnmatchcase(name, pattern) else 1.0
        factors[name] = factor
    return factors


def _depth(name: str, top: int) -> int:
    """Return a weight's level: 0 for embeddings, n + 1 for block n, ``top`` for everything else."""
    found = LAYER.search(name)
    if found:
        return int(found[1]) + 1
    return 0 if EMBEDDINGS.search(name) else top
