"""One pass through a network, with techniques around it.

In: a backend's pass, techniques, noise. Out: a pass that does what the techniques do.
Knows nothing about gradients' arithmetic or sums over micro-batches.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

from keras import ops

from clue_runner.engines.techniques.base import Gradients, Pass, Technique
from clue_runner.errors import UsageError


def with_techniques(once: Pass, techniques: Sequence[Technique]) -> Pass:
    """Return the pass with all techniques around it, the first one outermost."""
    for technique in reversed(techniques):
        once = functools.partial(_inside, technique, once)
    return once


def _inside(
    technique: Technique, once: Pass, batch: Mapping[str, Any], key: Any, noise: Any | None
) -> Gradients:
    """Run a technique whose passes are moved by its own noise and by that of the technique around it."""

    def moved(batch: Mapping[str, Any], key: Any, own: Any | None) -> Gradients:
        given = [one for one in (own, noise) if one is not None]
        return once(batch, key, sum(given[1:], start=given[0]) if given else None)

    return technique(moved, batch, key)


def whole_noise(network: Any, batch: Mapping[str, Any], noise: Any) -> Any:
    """Return noise as (rows, length, width) float32.

    Raises:
        UsageError: the network's embedded tokens cannot be moved.
    """
    width = network.noise_width
    if width is None:
        raise UsageError(
            "this network's embedded tokens cannot be moved",
            where="train.techniques",
            next_step="leave out the techniques that move them, or take a model with a backbone",
        )
    shape = (*(ops.shape(batch["token_ids"])[axis] for axis in (0, 1)), width)
    return ops.broadcast_to(ops.cast(noise, "float32"), shape)
