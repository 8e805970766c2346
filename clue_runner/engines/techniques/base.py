"""What a technique is: something that turns passes through the network into a micro-batch's gradients.

In: a pass, one micro-batch, its dropout key. Out: ``Gradients``.
Knows nothing about backends, sums over micro-batches or update rules. Keras is imported when something is
computed, not before.

A technique works row by row: what it does to a row may not depend on the other rows. Micro-batches are summed
around it, so that an update then gives the same result however it is split.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NamedTuple

from clue_runner.config.schema import Section


class Slices(NamedTuple):
    """A lookup table's gradient: ``values`` (n, width) to be added to ``rows`` (n,), a row perhaps twice."""

    values: Any
    rows: Any


class Gradients(NamedTuple):
    """What one pass through the network gives.

    Args:
        loss: sum of example losses, a float32 scalar.
        weight: sum of example weights, a float32 scalar.
        by_name: gradient of the loss sum by the weight's name: tensors, or ``Slices``.
        noise: gradient of the loss sum with respect to the noise, (rows, length, width) float32; None where
            the pass was given none.
    """

    loss: Any
    weight: Any
    by_name: dict[str, Any]
    noise: Any | None = None

    def plus(self, other: Gradients) -> Gradients:
        """Return the sum of both in every part; noise where both have it."""
        return Gradients(
            self.loss + other.loss,
            self.weight + other.weight,
            {name: _sum(value, other.by_name[name]) for name, value in self.by_name.items()},
            None if self.noise is None or other.noise is None else self.noise + other.noise,
        )


# (micro-batch, dropout key, noise): noise is added to the embedded tokens before their norm, and the gradient
# with respect to it is returned. It has the shape (rows, length, width) or one that is broadcast to that, as
# the number 0.0; None: nothing is added and no such gradient computed.
Pass = Callable[[Mapping[str, Any], Any, Any | None], Gradients]


class Technique(ABC):
    """One way to make gradients from passes.

    Args:
        settings: an instance of ``settings_type``.
    """

    settings_type: ClassVar[type[Section]]

    def __init__(self, settings: Any) -> None:
        self.settings = settings

    @abstractmethod
    def __call__(self, once: Pass, batch: Mapping[str, Any], key: Any) -> Gradients:
        """Return the gradients of one micro-batch.

        Args:
            once: runs the network and its gradient once; may be called several times.
            batch: tensors of the micro-batch; rows of weight 0 are padding.
            key: (2,) int32 dropout key of the micro-batch; passes with the same key have the same masks.
        """


def _sum(first: Any, second: Any) -> Any:
    if not isinstance(first, Slices):
        return first + second
    from keras import ops

    return Slices(ops.concatenate([first.values, second.values]), ops.concatenate([first.rows, second.rows]))
