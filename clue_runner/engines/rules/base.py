"""Update rules: how one weight changes, given its gradient.

In: a weight, its gradient, what the rule keeps for it. Out: the next values.
Knows nothing about networks, clipping, averages, micro-batches or where tensors live.

A rule's arithmetic works on tensors of either backend and on numpy arrays. Keras is imported when something
is computed, not before.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np

from clue_runner.config.schema import Section

Shape = tuple[int, ...]
Slots = Mapping[str, Any]


class UpdateRule(ABC):
    """One way to update weights.

    ``skips_unused_rows`` promises that the rows of a table do not depend on each other, and that a row whose
    gradient was always 0 has slots of 0 and a step of 0. TensorFlow then updates only rows of a lookup table
    that were ever read. Every slot must have the weight's shape, and an element's bits may not
    depend on its position: sums, products, quotients and ``square_root`` round correctly everywhere, a
    power or an exponential of an array does not (vector units and the rest behind them differ).

    ``kernel`` names arithmetic for which a backend may have a fused operation: ``adam`` with ``beta_1``,
    ``beta_2`` and ``epsilon`` among the settings. It holds for the class that declares it alone.

    Args:
        settings: an instance of ``settings_type``.
        weight_decay: that of the weights updated by this instance.
    """

    settings_type: ClassVar[type[Section]]
    skips_unused_rows: ClassVar[bool] = False
    kernel: ClassVar[str | None] = None

    def __init__(self, settings: Any, *, weight_decay: float = 0.0) -> None:
        self.settings = settings
        self.weight_decay = weight_decay

    def without_decay(self) -> Self:
        """Return the rule for weights that do not decay."""
        rule = copy.copy(self)
        rule.weight_decay = 0.0
        return rule

    def decay(self, rate: Any) -> Any | None:
        """Return the factor of a weight before its step; None: 1.

        That is decoupled decay. A rule that takes ``weight_decay`` into its step returns None here.
        """
        return None if self.weight_decay == 0 else 1 - rate * self.weight_decay

    @abstractmethod
    def slots(self, shape: Shape) -> Mapping[str, Shape]:
        """Return the arrays that are kept for a weight of this shape, by name; they begin as zeros."""

    @abstractmethod
    def size(self, rate: Any, step: Any) -> Any:
        """Return what all weights of an update share.

        Args:
            rate: learning rate of this update, a float32 scalar.
            step: number of this update from 1, a float32 scalar.
        """

    @abstractmethod
    def step(self, weight: Any, gradient: Any, slots: Slots, size: Any) -> tuple[Any, dict[str, Any]]:
        """Return the next weight and the next slots.

        Args:
            weight: decayed by ``decay``.
            gradient: clipped, of the mean loss.
            slots: the arrays named by ``slots``, as the previous update left them.
            size: the result of ``size``.
        """


def square_root(value: Any) -> Any:
    """Return the root of an array, correctly rounded wherever an element lies."""
    if isinstance(value, np.ndarray | np.generic):
        return np.sqrt(value)
    from keras import ops

    return ops.sqrt(value)
