"""Averaged weights: an exponential mean over the updates.

In: an average and a weight, tensors of either backend. Out: the next average.
Knows nothing about update rules or where tensors live.
"""

from __future__ import annotations

from typing import Any

from keras import ops


def kept_share(step: Any, decay: float, *, warmup: bool) -> Any:
    """Return the fraction of the average that is kept at an update.

    Args:
        step: number of the update from 1, a float32 scalar.
        decay: the final fraction.
        warmup: start with a short memory: at most (1 + step) / (10 + step).
    """
    return ops.minimum((1 + step) / (10 + step), decay) if warmup else decay


def averaged(average: Any, weight: Any, kept: Any) -> Any:
    """Return the next average."""
    return average * kept + weight * (1 - kept)
