"""The interface of a backend for the loop: initialise, step, evaluate, get and set the state.

In: a network builder and numpy batches. Out: losses, outputs and states as numpy.
Knows nothing about epochs, files or tasks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from numpy.typing import NDArray

from clue_runner.engines.rules.base import UpdateRule
from clue_runner.engines.techniques.base import Technique
from clue_runner.tokens.rows import Array

State = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class EngineSettings:
    """Everything that shapes the compiled step.

    Args:
        precision: ``float32`` or ``bfloat16`` (compute type; weights stay float32).
        jit: compile with XLA.
        rule: the update rule, with its settings and the weight decay.
        clip_norm: maximum global gradient norm; None: off.
        ema: decay of the averaged weights; None: off.
        seed: source of the dropout keys.
        ema_warmup: the average's decay is at most (1 + step) / (10 + step).
        techniques: those that make gradients from passes, the outermost first; none: one pass.
        layer_decay: learning-rate factor from one level of the network to the one below; None: off.
        rates: (pattern of weights' names, factor of their learning rate).
        lookahead: updates between two pulls towards the slow weights; None: off.
        lookahead_share: the fraction of the way from the slow to the fast weights where both then start.
        devices: how many share each batch's rows (JAX); the update is the same up to the order of sums.
    """

    precision: str
    jit: bool
    rule: UpdateRule
    clip_norm: float | None
    ema: float | None
    seed: int
    ema_warmup: bool = False
    techniques: tuple[Technique, ...] = ()
    layer_decay: float | None = None
    rates: tuple[tuple[str, float], ...] = ()
    lookahead: int | None = None
    lookahead_share: float = 0.5
    devices: int = 1


@dataclass(frozen=True)
class StepResult:
    """One update: ``finite`` False means that it was not applied and the state is as before."""

    loss: float
    weight: float
    gradient_norm: float
    finite: bool


class Engine(Protocol):
    """A backend that runs one network."""

    compilations: int

    def init(self, build: Callable[[], Any], settings: EngineSettings) -> None:
        """Build the network and create optimizer and EMA state."""

    def step(
        self, update: Mapping[str, Array], *, update_index: int, learning_rate: float
    ) -> Callable[[], StepResult]:
        """Run one update on arrays of shape (micro-batches, rows, ...); return how to read its result.

        All of ``update`` goes to the device: the column ``row``, which only the host needs, must be removed.
        Loss = sum of example losses / sum of weights over all micro-batches. Reading waits for the
        device, so the loop reads late.
        """

    def evaluate(self, batch: Mapping[str, Array], *, averaged: bool) -> Mapping[str, Array]:
        """Return outputs of one batch without dropout; ``averaged`` uses the EMA weights if there are any."""

    def applied(self) -> int | None:
        """Return how many updates the state includes; None if a failed one has left it unusable."""

    def room(self) -> State:
        """Return arrays for ``get_state``, their content undefined, in one block of memory."""

    def get_state(self, into: State | None = None) -> State:
        """Return weights, optimizer and EMA by stable names: copies, which no later step overwrites.

        ``into``: arrays of ``room`` that are overwritten and returned; None: new ones.
        """

    def set_state(self, state: State) -> None:
        """Restore a state, bit for bit; names and shapes must match."""

    def get_weights(self, *, averaged: bool) -> State:
        """Return the network's weights by stable names (``backbone/...``, ``head/...``)."""

    def set_weights(self, weights: State) -> None:
        """Restore weights; names and shapes must match."""


class Foresight(Protocol):
    """Further methods of an engine whose compiler can forecast a step's memory (JAX)."""

    def plan(self, build: Callable[[], Any], settings: EngineSettings) -> None:
        """Build only the network's shapes; no weight is allocated and the engine cannot step."""

    def step_memory(self, update: Mapping[str, Any]) -> dict[str, int]:
        """Return bytes of a step on such shapes: ``state``, and ``temporary``, all else; nothing is run."""
