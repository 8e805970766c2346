"""One pass through a network, with techniques in its loss and around it.

In: a network, a backend's pass, techniques, noise. Out: a loss and a pass that apply the techniques.
Knows nothing about gradients' arithmetic or sums over micro-batches.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from keras import ops

from clue_runner.engines.techniques.base import Gradients, Pass, Technique
from clue_runner.errors import UsageError
from clue_runner.models.heads.base import NOISE

# (function, tensor): the function's (loss, weight) at the tensor, and the loss's gradient there, which can be
# differentiated again.
Slope = Callable[[Callable[[Any], tuple[Any, Any]], Any], tuple[tuple[Any, Any], Any]]


class NetworkLoss:
    """A network's loss with techniques inside it.

    Args:
        network: the task's head.
        techniques: the outermost first; those that do not change the loss are skipped.
        slope: how the backend differentiates inside a loss.
    """

    def __init__(self, network: Any, techniques: Sequence[Technique], slope: Slope) -> None:
        self.network, self._slope = network, slope
        self._techniques = [technique for technique in techniques if technique.changes_loss]

    def __call__(self, batch: Mapping[str, Any], key: Any) -> tuple[Any, Any]:
        """Return (sum of example losses, sum of example weights), float32 scalars."""
        if not self._techniques:
            found: tuple[Any, Any] = self.network.loss(batch, key)
            return found
        outermost, *others = self._techniques
        return outermost.loss(NetworkLoss(self.network, others, self._slope), batch, key)

    def slope(self, batch: Mapping[str, Any], key: Any) -> tuple[Any, Any, Any]:
        """Return loss, weight, and the loss's gradient with respect to noise, (rows, length, width)."""
        given = batch.get(NOISE)

        def moved(noise: Any) -> tuple[Any, Any]:
            return self({**batch, NOISE: noise if given is None else given + noise}, key)

        (loss, weight), gradient = self._slope(moved, whole_noise(self.network, batch, 0.0))
        return loss, weight, gradient


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
        UsageError: the network's embedded tokens cannot be perturbed.
    """
    width = network.noise_width
    if width is None:
        raise UsageError(
            "this network's embedded tokens cannot be perturbed",
            where="train",
            next_step="leave out the techniques that perturb them, or use a model with a backbone",
        )
    shape = (*(ops.shape(batch["token_ids"])[axis] for axis in (0, 1)), width)
    return ops.broadcast_to(ops.cast(noise, "float32"), shape)
