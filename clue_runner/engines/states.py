"""Names in a state, memory for one, and the check that a state fits before it is restored.

In: names of weights, of what a rule keeps for them, of averages. Out: names of a state; empty arrays for it.
Knows nothing about backends or files.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from clue_runner.engines.base import State
from clue_runner.errors import CheckpointError, Problem

STEP = "optimizer/step"
AVERAGE = "ema/"
_ALIGNED = 64  # bytes, a line of the processor's cache


def slot_name(slot: str, weight: str) -> str:
    """Return the name of a rule's slot for a weight: ``optimizer/momentum/head/output/kernel``."""
    return f"optimizer/{slot}/{weight}"


def empty_state(arrays: Mapping[str, tuple[tuple[int, ...], Any]]) -> State:
    """Return arrays of such (shape, type) by name, their content undefined.

    They share one block of memory: the system provides a large block in large pages, a small one not.
    """
    sizes = {name: int(np.prod(shape)) * np.dtype(kind).itemsize for name, (shape, kind) in arrays.items()}
    block = np.empty(sum(size + -size % _ALIGNED for size in sizes.values()), np.uint8)
    state, start = {}, 0
    for name, (shape, kind) in arrays.items():
        state[name] = block[start : start + sizes[name]].view(kind).reshape(shape)
        start += sizes[name] + -sizes[name] % _ALIGNED
    return state


def check_state(state: State, expected: Mapping[str, tuple[int, ...]]) -> None:
    """Compare names and shapes.

    Raises:
        CheckpointError: names every entry that is missing, unknown or of another shape.
    """
    problems = [Problem("missing", name) for name in expected if name not in state]
    problems += [Problem("unknown", name) for name in state if name not in expected]
    problems += [
        Problem("has another shape", name, str(tuple(state[name].shape)), str(tuple(shape)))
        for name, shape in expected.items()
        if name in state and tuple(state[name].shape) != tuple(shape)
    ]
    if problems:
        raise CheckpointError(
            "the saved state does not fit this network",
            problems=problems,
            next_step="use the settings that the state was saved with, or start over with --fresh",
        )
