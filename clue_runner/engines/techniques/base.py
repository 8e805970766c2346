"""Techniques: changes to the network, the loss of a micro-batch, or its gradients.

In: a network once; a loss or a pass, one micro-batch, its dropout key. Out: a loss; ``Gradients``.
Knows nothing about backends, sums over micro-batches or update rules. Keras is imported when something is
computed, not before.

A technique works row by row: its effect on a row may not depend on other rows. Micro-batches are summed
around it, so that an update gives the same result however it is split.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NamedTuple, Protocol

from clue_runner.config.schema import Section
from clue_runner.errors import RefusedSettingError


class Slices(NamedTuple):
    """A lookup table's gradient: ``values`` (n, width) to be added to ``rows`` (n,), a row perhaps twice."""

    values: Any
    rows: Any


class Gradients(NamedTuple):
    """The results of one pass through the network.

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


class Extra(NamedTuple):
    """What a technique adds to the memory of a step, in units of what the step has without it.

    Args:
        passes: of the network, whose activations live at once; a backward pass that is differentiated
            again counts as several.
        gradients: further sets of the weights' gradients.
        noises: arrays as large as the embedded tokens, (rows, length, width) float32.
        scores: passes through the head, whose scores live at once.
    """

    passes: float = 1.0
    gradients: int = 0
    noises: int = 0
    scores: float = 1.0

    def around(self, inner: Extra) -> Extra:
        """Return what this technique and one inside it add together."""
        return Extra(
            self.passes * inner.passes,
            self.gradients + inner.gradients,
            self.noises + inner.noises,
            self.scores * inner.scores,
        )


class Loss(Protocol):
    """The loss of one micro-batch, with the techniques inside it, as it is differentiated."""

    network: Any  # the task's ``Head``

    def __call__(self, batch: Mapping[str, Any], key: Any) -> tuple[Any, Any]:
        """Return (sum of example losses, sum of example weights), float32 scalars."""

    def slope(self, batch: Mapping[str, Any], key: Any) -> tuple[Any, Any, Any]:
        """Return loss, weight, and the loss's gradient with respect to noise added to the embedded tokens.

        The gradient, (rows, length, width) float32, can be differentiated again.
        """


class Technique:
    """One change to training; a subclass overrides what it needs of the three methods.

    Its settings are ``NAME``, the switch, None by default, and ``NAME_...``, where ``NAME`` is the file's;
    they are in the section ``train:``. A network that cannot use the technique is refused by ``prepare``.

    ``changes_loss`` says that ``loss`` is overridden: the technique then is inside those that work on
    gradients. ``calls_network`` says that its loss calls ``inner.network`` and not ``inner``: several passes
    whose outputs it compares or feeds back. One such can be in a run.

    Args:
        settings: an instance of ``settings_type``.
    """

    settings_type: ClassVar[type[Section]]
    changes_loss: ClassVar[bool] = False
    calls_network: ClassVar[bool] = False

    def __init__(self, settings: Any) -> None:
        self.settings = settings

    def extra(self, *, recomputed: bool) -> Extra:
        """Return what the technique adds to the memory of a step.

        Args:
            recomputed: whether the backward pass computes blocks again.
        """
        return Extra()

    def prepare(self, network: Any) -> None:
        """Change the network once, after it was built.

        Args:
            network: the task's ``Head``.

        Raises:
            RefusedSettingError: it cannot use the technique; the message tells why.
        """

    def loss(self, inner: Loss, batch: Mapping[str, Any], key: Any) -> tuple[Any, Any]:
        """Return (sum of example losses, sum of example weights) of one micro-batch; it is differentiated.

        Args:
            inner: the loss without this technique; may be called several times.
            batch: tensors of the micro-batch; rows of weight 0 are padding.
            key: (2,) int32 dropout key of the micro-batch; the same key draws the same masks.
        """
        return inner(batch, key)

    def __call__(self, once: Pass, batch: Mapping[str, Any], key: Any) -> Gradients:
        """Return the gradients of one micro-batch.

        Args:
            once: runs the network and its gradient once; may be called several times.
            batch: tensors of the micro-batch; rows of weight 0 are padding.
            key: (2,) int32 dropout key of the micro-batch; passes with the same key have the same masks.
        """
        return once(batch, key, None)


def refuse(technique: str, reason: str | None) -> None:
    """Raise if there is a reason why the network cannot use a technique.

    Raises:
        RefusedSettingError: it cannot; the message tells why.
    """
    if reason is not None:
        raise RefusedSettingError(
            f"this run cannot use {technique}: {reason}",
            where=f"train.{technique}",
            next_step=f"leave it out (--set train.{technique}=null), or choose another head or model",
        )


def immovable(network: Any) -> str | None:
    """Return why the network's embedded tokens cannot be perturbed; None: they can."""
    if network.noise_width is None:
        return "the network has no backbone whose embedded tokens could be perturbed"
    return None


def _sum(first: Any, second: Any) -> Any:
    if not isinstance(first, Slices):
        return first + second
    from keras import ops

    return Slices(ops.concatenate([first.values, second.values]), ops.concatenate([first.rows, second.rows]))
