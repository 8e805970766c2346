"""Which recomputation is possible: policies and segments that the backend and the model support.

In: settings. Out: problems. Knows nothing about tensors.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from typing import Any

from clue_runner.config.pairs import pair_problem
from clue_runner.errors import Problem

MODE, POLICY, LAYERS, BACKEND = "model.recompute", "model.recompute_policy", "model.num_layers", "backend"


def recompute_problems(values: Mapping[str, Any], origins: Mapping[str, str]) -> Iterator[Problem]:
    """Yield the problems with ``model.recompute`` and its policy."""
    together = functools.partial(pair_problem, values=values, origins=origins)
    mode, policy, layers = values[MODE], values[POLICY], values.get(LAYERS)
    if policy != "nothing" and mode == "none":
        yield together(
            "nothing is recomputed, so the policy has no effect",
            POLICY,
            MODE,
            allowed="nothing",
            fix=f"--set {MODE}=block",
        )
    elif policy != "nothing" and values[BACKEND] == "tensorflow":
        yield together(
            "TensorFlow recomputes a part as a whole",
            POLICY,
            BACKEND,
            allowed="nothing",
            fix="--backend jax",
        )
    if layers is not None and (segment_size(mode) or 1) > layers:
        yield together(
            "a segment has more blocks than the model",
            MODE,
            LAYERS,
            allowed=f"segment:1 to segment:{layers}",
            fix=f"--set {MODE}=block",
        )


def segment_size(recompute: str) -> int | None:
    """Return how many blocks (halves of blocks for ``sublayer``) are recomputed at once; None: nothing is."""
    return None if recompute == "none" else int(recompute.partition(":")[2] or 1)
