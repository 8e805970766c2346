"""Lookahead: every few updates the weights are pulled back part of the way to their earlier values.

In: a slow weight and the fast one, tensors of either backend. Out: the next values of both.
Knows nothing about update rules or where tensors live. The slow weights begin as the weights themselves.
Source: Zhang and others 2019, "Lookahead Optimizer: k steps forward, 1 step back".
"""

from __future__ import annotations

from typing import Any

from keras import ops

SLOT = "slow"  # slow weights are kept among the rule's slots


def is_due(step: Any, every: int) -> Any:
    """Return whether the weights are pulled back after the update ``step``, counted from 1."""
    return ops.equal(step % every, 0)


def pulled(slow: Any, fast: Any, share: float) -> Any:
    """Return the next value of both: ``share`` of the way from the slow weight to the fast one."""
    return slow + (fast - slow) * share
