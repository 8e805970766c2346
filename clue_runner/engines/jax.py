"""The engine on JAX: one pure step over (weights, optimizer, average), compiled, its state donated.

In: a network builder and numpy batches. Out: losses, outputs and states as numpy.
Knows nothing about epochs, files or tasks. TensorFlow is never imported here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import keras
import numpy as np

from clue_runner.engines import lookahead
from clue_runner.engines.base import EngineSettings, State, StepResult
from clue_runner.engines.jax_devices import Devices, devices_in_use, lowered
from clue_runner.engines.passes import NetworkLoss, whole_noise, with_techniques
from clue_runner.engines.rates import rate_factors
from clue_runner.engines.states import AVERAGE, STEP, check_state, empty_state, slot_name
from clue_runner.engines.techniques.base import Gradients
from clue_runner.engines.update import Move, figures_of
from clue_runner.models.dropout import update_keys
from clue_runner.models.heads.base import NOISE
from clue_runner.models.naming import named_variables
from clue_runner.tokens.rows import Array

Tensors = dict[str, Any]


def create() -> JaxEngine:
    """Return a new engine."""
    return JaxEngine()


def gpu_names() -> list[str]:
    """Return a name for each GPU that JAX sees."""
    return [device.device_kind for device in jax.devices() if device.platform in {"gpu", "cuda", "rocm"}]


def use_gpu(index: int) -> None:
    """Put new arrays on this GPU."""
    jax.config.update("jax_default_device", jax.devices("gpu")[index])


def use_cpu() -> None:
    """Put new arrays on the CPU."""
    jax.config.update("jax_default_device", jax.devices("cpu")[0])


def sharing_count() -> int:
    """Return how many devices can share a batch: all of the kind in use."""
    return len(devices_in_use())


def _slope(function: Callable[[Any], tuple[Any, Any]], value: Any) -> tuple[tuple[Any, Any], Any]:
    """Return a function's results at ``value``, and the differentiable gradient of the first one."""
    found: tuple[tuple[Any, Any], Any] = jax.value_and_grad(function, has_aux=True)(value)
    return found


class JaxEngine:
    """Runs one network with ``jax.jit``; each batch shape is compiled once."""

    def __init__(self) -> None:
        self.compilations = 0

    def init(self, build: Callable[[], Any], settings: EngineSettings) -> None:
        """Build the network and create optimizer and average."""
        self._take(build(), settings)
        # the variables' own arrays, not copies: the first step takes over their memory
        weights = {name: self._devices.take(v.value) for name, v in self.variables.items()}
        self.state = self._first_state(weights, partial(np.zeros, dtype=np.float32), self._devices.put)

    def plan(self, build: Callable[[], Any], settings: EngineSettings) -> None:
        """Build only the network's shapes, for ``step_memory``; no weight is allocated."""
        with keras.StatelessScope():
            self._take(build(), settings)
        weights = {name: jax.ShapeDtypeStruct(v.shape, v.dtype) for name, v in self.variables.items()}
        zeros = partial(jax.ShapeDtypeStruct, dtype=jnp.float32)
        self.state = self._first_state(weights, zeros, lambda s: jax.ShapeDtypeStruct(s.shape, s.dtype))

    def _take(self, network: Any, settings: EngineSettings) -> None:
        """Keep a network and prepare its compiled functions."""
        self.network, self.settings = network, settings
        self._devices = Devices(settings.devices)
        for technique in settings.techniques:
            technique.prepare(network)
        self._loss = NetworkLoss(network, settings.techniques, _slope)
        self.variables = named_variables(network)
        self.trained = [name for name, variable in self.variables.items() if variable.trainable]
        self._factors = rate_factors(self.trained, settings.layer_decay, settings.rates)
        options = self._devices.compile_options()
        self._compiled_step = jax.jit(self._update, donate_argnums=0, **options)
        self._compiled_outputs = jax.jit(self._outputs, **options)
        self._step = self._compiled_step if settings.jit else self._update
        self._evaluate = self._compiled_outputs if settings.jit else self._outputs
        self._plain = jax.jit(self._answers)  # never run: JAX keeps the shapes of what it has traced

    def _first_state(self, weights: Tensors, zeros: Any, put: Callable[[Any], Any]) -> dict[str, Any]:
        """Return the initial state, of arrays or, for planning, of shapes only."""
        trained = {name: weights[name] for name in self.trained}
        slots = {name: self.settings.rule.slots(tuple(value.shape)) for name, value in trained.items()}
        return {
            "weights": weights,
            "slots": {
                name: {slot: put(zeros(shape)) for slot, shape in own.items()} for name, own in slots.items()
            },
            "average": {} if self.settings.ema is None else jax.tree.map(put, trained),
            "slow": {} if self.settings.lookahead is None else jax.tree.map(put, trained),
            "step": put(np.zeros((), np.int32)),
        }

    def _names(self) -> dict[str, Any]:
        """Return the state with names in place of its arrays."""
        return {
            "weights": {name: name for name in self.state["weights"]},
            "slots": {
                name: {slot: slot_name(slot, name) for slot in slots}
                for name, slots in self.state["slots"].items()
            },
            "average": {name: AVERAGE + name for name in self.state["average"]},
            "slow": {name: slot_name(lookahead.SLOT, name) for name in self.state["slow"]},
            "step": STEP,
        }

    def lowered(self, update: Mapping[str, Any], platform: str | None = None) -> Any:
        """Return the step for updates of such shapes, not compiled yet; ``engines.jax_devices.lowered``."""
        keys = jax.ShapeDtypeStruct((update["weight"].shape[0], 2), jnp.int32)
        rate = jax.ShapeDtypeStruct((), jnp.float32)
        return lowered(self._compiled_step, platform, self.state, update, keys, rate)

    def lowered_evaluation(self, batch: Mapping[str, Any], platform: str | None = None) -> Any:
        """Return what ``lowered`` does, of ``evaluate``."""
        return lowered(self._compiled_outputs, platform, self._weights(averaged=False), batch)

    def step_memory(self, update: Mapping[str, Any]) -> dict[str, int]:
        """Return the compiler's forecast for a step of such shapes; nothing is run.

        Returns:
            Bytes: ``state`` (weights, slots, average), ``temporary`` (everything else inside the step).
        """
        found = self.lowered(update).compile().memory_analysis()
        new = max(0, int(found.output_size_in_bytes) - int(found.alias_size_in_bytes))
        return {"state": int(found.argument_size_in_bytes), "temporary": int(found.temp_size_in_bytes) + new}

    def step(
        self, update: Mapping[str, Array], *, update_index: int, learning_rate: float
    ) -> Callable[[], StepResult]:
        """Run one update; the state stays on the device and the call does not wait."""
        micro_batches = update["weight"].shape[0]
        keys = update_keys(self.settings.seed, update_index, micro_batches)
        self.state, figures = self._step(
            self.state, self._devices.share(update, 1), keys, np.float32(learning_rate)
        )

        def read() -> StepResult:
            loss, weight, norm, finite = (np.asarray(figure) for figure in figures)
            return StepResult(float(loss), float(weight), float(norm), bool(finite))

        return read

    def evaluate(self, batch: Mapping[str, Array], *, averaged: bool) -> Mapping[str, Array]:
        """Return outputs of one batch without dropout."""
        weights, shared = self._weights(averaged), self._devices.share(batch, 0)
        outputs = {name: np.asarray(value) for name, value in self._evaluate(weights, shared).items()}
        if all(len(shared[name]) == len(values) for name, values in batch.items()):
            return outputs
        plain = self._plain.eval_shape(weights, dict(batch))
        return {name: value[: plain[name].shape[0]] for name, value in outputs.items()}

    def applied(self) -> int | None:
        """Return the number of updates included; None if a failed step has consumed its state."""
        leaves = jax.tree.leaves(self.state)
        if any(leaf.is_deleted() for leaf in leaves):
            return None
        try:
            jax.block_until_ready(leaves)
        except jax.errors.JaxRuntimeError:
            return None
        return int(self.state["step"])

    def room(self) -> State:
        """Return arrays for ``get_state``."""
        arrays = {name: (value.shape, value.dtype) for name, value in self._named()}
        return empty_state(arrays | {STEP: ((), np.int64)})

    def get_state(self, into: State | None = None) -> State:
        """Return copies of weights, slots, average and step."""
        state = self.room() if into is None else into
        for name, value in self._named():
            np.copyto(state[name], np.asarray(value))  # on a CPU a view of what a step overwrites
        return state

    def _named(self) -> Iterator[tuple[str, Any]]:
        """Return the name and the array of every part of the state."""
        return zip(jax.tree.leaves(self._names()), jax.tree.leaves(self.state), strict=True)

    def set_state(self, state: State) -> None:
        """Restore a state, bit for bit."""
        check_state(state, {name: value.shape for name, value in self._named()})
        put = self._devices.put
        self.state = jax.tree.map(
            lambda name, old: put(state[name].astype(old.dtype)), self._names(), self.state
        )

    def get_weights(self, *, averaged: bool) -> State:
        """Return copies of the network's weights."""
        return {name: np.array(value) for name, value in self._weights(averaged).items()}

    def set_weights(self, weights: State) -> None:
        """Restore weights; average and slow weights start from them too."""
        check_state(weights, {name: value.shape for name, value in self.state["weights"].items()})
        for part in ("weights", "average", "slow"):
            self.state[part] = {name: self._devices.put(weights[name]) for name in self.state[part]}

    def _weights(self, averaged: bool) -> Tensors:
        """Return the weights on the device, those that are averaged from the average if asked for."""
        weights: Tensors = self.state["weights"]
        return weights | self.state["average"] if averaged else weights

    def _run(self, weights: Tensors, batch: Tensors, key: Any | None, *, loss: bool) -> Any:
        """Call the network with ``weights`` in place of its variables."""
        mapping = [(self.variables[name], value) for name, value in weights.items()]
        with keras.StatelessScope(state_mapping=mapping):
            return self._loss(batch, key) if loss else self.network.answer(batch)

    def _outputs(self, weights: Tensors, batch: Tensors) -> Tensors:
        """Compute outputs for evaluation; called once for each compiled shape."""
        self.compilations += 1
        return self._answers(weights, batch)

    def _answers(self, weights: Tensors, batch: Tensors) -> Tensors:
        return dict(self._run(weights, {name: jnp.asarray(v) for name, v in batch.items()}, None, loss=False))

    def _once(self, weights: Tensors, batch: Mapping[str, Any], key: Any, noise: Any | None) -> Gradients:
        """Run the network and its gradient on one micro-batch."""
        noise = None if noise is None else whole_noise(self.network, batch, noise)

        def losses(trained: Tensors, noise: Any | None) -> tuple[Any, Any]:
            moved = dict(batch) if noise is None else {**batch, NOISE: noise}
            loss, weight = self._run(weights | trained, moved, key, loss=True)
            return loss, weight

        trained = {name: weights[name] for name in self.trained}
        gradient = jax.value_and_grad(losses, argnums=(0, 1), has_aux=True)
        (loss, weight), (by_name, by_noise) = gradient(trained, noise)
        return Gradients(loss, weight, by_name, by_noise)

    def _gradients(self, weights: Tensors, batch: Tensors, keys: Any) -> Gradients:
        """Return the gradients of all micro-batches, summed."""
        once = with_techniques(partial(self._once, weights), self.settings.techniques)
        if len(keys) == 1:
            return once({name: value[0] for name, value in batch.items()}, keys[0], None)

        def add(total: Gradients, item: Any) -> tuple[Gradients, None]:
            batch, key = item
            return total.plus(once(batch, key, None)), None

        zero = jnp.zeros((), jnp.float32)
        none = Gradients(zero, zero, {name: jnp.zeros_like(weights[name]) for name in self.trained})
        total: Gradients = jax.lax.scan(add, none, (batch, keys))[0]
        return total

    def _update(
        self, state: dict[str, Any], batch: Tensors, keys: Any, learning_rate: Any
    ) -> tuple[dict[str, Any], Any]:
        """Compute one update; a non-finite one returns the state as it was."""
        self.compilations += 1
        batch = {name: jnp.asarray(value) for name, value in batch.items()}
        loss, weight, gradients, _ = self._gradients(state["weights"], batch, jnp.asarray(keys))
        squares = sum(jnp.sum(jnp.square(value)) for value in gradients.values())
        figures = figures_of(loss, weight, squares, self.settings.clip_norm)
        step = state["step"] + 1
        move = Move(self.settings, step, learning_rate, figures.scale, self._factors)
        new: dict[str, Any] = {"slots": {}, "average": {}, "slow": {}, "step": step}
        new["weights"] = dict(state["weights"])
        for name, gradient in gradients.items():
            value, slots = move.whole(name, state["weights"][name], gradient, state["slots"][name])
            if self.settings.lookahead is not None:
                slow, due = state["slow"][name], lookahead.is_due(step, self.settings.lookahead)
                new["slow"][name] = jnp.where(
                    due, lookahead.pulled(slow, value, self.settings.lookahead_share), slow
                )
                value = jnp.where(due, new["slow"][name], value)
            new["weights"][name], new["slots"][name] = value, slots
            if name in state["average"]:
                new["average"][name] = move.average(state["average"][name], value)
        kept = jax.tree.map(lambda after, before: jnp.where(figures.finite, after, before), new, state)
        return kept, figures[:4]
