"""The engine on JAX: one pure step over (weights, optimizer, average), compiled, its state donated.

In: a network builder and numpy batches. Out: losses, outputs and states as numpy.
Knows nothing about epochs, files or tasks. TensorFlow is never imported here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import keras
import numpy as np

from clue_runner.engines.base import EngineSettings, State, StepResult
from clue_runner.engines.optimizers import (
    Moments,
    adam,
    average_decay,
    decay_factor,
    radam,
    rectified_size,
    step_size,
)
from clue_runner.engines.states import AVERAGE, MOMENTUM, STEP, VELOCITY, check_state
from clue_runner.models.dropout import update_keys
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


def fused_attention_fault(head_width: int) -> str | None:
    """Return why cuDNN's attention and its gradient do not run on the device in use; None: they do."""

    def total(heads: Any) -> Any:
        lengths = jnp.full((1,), 8, jnp.int32)
        found = jax.nn.dot_product_attention(
            heads,
            heads,
            heads,
            query_seq_lengths=lengths,
            key_value_seq_lengths=lengths,
            implementation="cudnn",
        )
        return jnp.sum(found.astype(jnp.float32))

    try:
        jax.block_until_ready(jax.jit(jax.grad(total))(jnp.zeros((1, 16, 2, head_width), jnp.bfloat16)))
    except Exception as error:  # what says "not here" differs from driver to driver
        return str(error).partition("\n")[0][:200] or type(error).__name__
    return None


class JaxEngine:
    """Runs one network with ``jax.jit``; each batch shape is compiled once."""

    def __init__(self) -> None:
        self.compilations = 0

    def init(self, build: Callable[[], Any], settings: EngineSettings) -> None:
        """Build the network and create optimizer and average."""
        self._take(build(), settings)
        # the variables' own arrays, not copies: the first step takes them over and their memory with them
        self.state = self._first_state({name: v.value for name, v in self.variables.items()})

    def plan(self, build: Callable[[], Any], settings: EngineSettings) -> None:
        """Know the network's shapes alone, for ``step_memory``; no weight is allocated."""
        with keras.StatelessScope():
            self._take(build(), settings)
        weights = {name: jax.ShapeDtypeStruct(v.shape, v.dtype) for name, v in self.variables.items()}
        self.state = jax.eval_shape(self._first_state, weights)

    def _take(self, network: Any, settings: EngineSettings) -> None:
        """Keep a network and prepare its compiled functions."""
        self.network, self.settings = network, settings
        self.variables = named_variables(network)
        self.trained = [name for name, variable in self.variables.items() if variable.trainable]
        self._step = jax.jit(self._update, donate_argnums=0) if settings.jit else self._update
        self._evaluate = jax.jit(self._outputs) if settings.jit else self._outputs

    def _first_state(self, weights: Tensors) -> dict[str, Any]:
        """Return the state that training begins with."""
        trained = {name: weights[name] for name in self.trained}
        return {
            "weights": weights,
            "momentum": jax.tree.map(jnp.zeros_like, trained),
            "velocity": jax.tree.map(jnp.zeros_like, trained),
            "average": {} if self.settings.ema is None else jax.tree.map(jnp.array, trained),
            "step": jnp.zeros((), jnp.int32),
        }

    def step_memory(self, update: Mapping[str, Any]) -> dict[str, int]:
        """Return what the compiler says that a step of such shapes needs; nothing is run.

        Returns:
            Bytes: ``state`` (weights, moments, average), ``temporary`` (all else inside the step).
        """
        shapes = {name: jax.ShapeDtypeStruct(v.shape, v.dtype) for name, v in update.items()}
        keys = jax.ShapeDtypeStruct((shapes["weight"].shape[0], 2), jnp.int32)
        state = jax.tree.map(lambda value: jax.ShapeDtypeStruct(value.shape, value.dtype), self.state)
        rate = jax.ShapeDtypeStruct((), jnp.float32)
        step = jax.jit(self._update, donate_argnums=0)
        found = step.lower(state, shapes, keys, rate).compile().memory_analysis()
        return {
            "state": int(found.argument_size_in_bytes),
            "temporary": int(found.temp_size_in_bytes)
            + max(0, int(found.output_size_in_bytes) - int(found.alias_size_in_bytes)),
        }

    def step(
        self, update: Mapping[str, Array], *, update_index: int, learning_rate: float
    ) -> Callable[[], StepResult]:
        """Run one update; the state stays on the device and nothing is waited for."""
        micro_batches = len(update["weight"])
        keys = update_keys(self.settings.seed, update_index, micro_batches)
        self.state, figures = self._step(self.state, dict(update), keys, np.float32(learning_rate))

        def read() -> StepResult:
            loss, weight, norm, finite = (np.asarray(figure) for figure in figures)
            return StepResult(float(loss), float(weight), float(norm), bool(finite))

        return read

    def evaluate(self, batch: Mapping[str, Array], *, averaged: bool) -> Mapping[str, Array]:
        """Return outputs of one batch without dropout."""
        outputs = self._evaluate(self._weights(averaged), dict(batch))
        return {name: np.asarray(value) for name, value in outputs.items()}

    def applied(self) -> int | None:
        """Return the updates taken in; None where a failed step has eaten the state it was given."""
        leaves = jax.tree.leaves(self.state)
        if any(leaf.is_deleted() for leaf in leaves):
            return None
        try:
            jax.block_until_ready(leaves)
        except jax.errors.JaxRuntimeError:
            return None
        return int(self.state["step"])

    def get_state(self) -> State:
        """Return copies of weights, moments, average and step."""
        parts = {"": "weights", MOMENTUM: "momentum", VELOCITY: "velocity", AVERAGE: "average"}
        state = {
            prefix + name: np.array(value)
            for prefix, part in parts.items()
            for name, value in self.state[part].items()
        }
        return state | {STEP: np.array(self.state["step"], np.int64)}

    def set_state(self, state: State) -> None:
        """Put a state back, bit for bit."""
        parts = {"": "weights", MOMENTUM: "momentum", VELOCITY: "velocity", AVERAGE: "average"}
        shapes = {
            prefix + name: value.shape
            for prefix, part in parts.items()
            for name, value in self.state[part].items()
        }
        check_state(state, shapes | {STEP: ()})
        for prefix, part in parts.items():
            self.state[part] = {name: jnp.array(state[prefix + name]) for name in self.state[part]}
        self.state["step"] = jnp.array(state[STEP], jnp.int32)

    def get_weights(self, *, averaged: bool) -> State:
        """Return copies of the network's weights."""
        return {name: np.array(value) for name, value in self._weights(averaged).items()}

    def set_weights(self, weights: State) -> None:
        """Put weights back; the average starts from them too."""
        check_state(weights, {name: value.shape for name, value in self.state["weights"].items()})
        self.state["weights"] = {name: jnp.array(weights[name]) for name in self.state["weights"]}
        self.state["average"] = {name: jnp.array(weights[name]) for name in self.state["average"]}

    def _weights(self, averaged: bool) -> Tensors:
        """Return the weights on the device, those that are averaged from the average if asked for."""
        weights: Tensors = self.state["weights"]
        return weights | self.state["average"] if averaged else weights

    def _run(self, weights: Tensors, batch: Tensors, key: Any | None, *, loss: bool) -> Any:
        """Call the network with ``weights`` in the place of its variables."""
        mapping = [(self.variables[name], value) for name, value in weights.items()]
        with keras.StatelessScope(state_mapping=mapping):
            return self.network.loss(batch, key) if loss else self.network.answer(batch)

    def _outputs(self, weights: Tensors, batch: Tensors) -> Tensors:
        """Compute outputs for evaluation."""
        self.compilations += 1
        return dict(self._run(weights, {name: jnp.asarray(v) for name, v in batch.items()}, None, loss=False))

    def _gradients(self, weights: Tensors, batch: Tensors, keys: Any) -> tuple[Any, Any, Tensors]:
        """Return loss sum, weight sum and gradient of the loss sum over all micro-batches."""
        trained = {name: weights[name] for name in self.trained}

        def one(micro: Tensors, key: Any) -> tuple[Any, Any, Tensors]:
            def losses(trained: Tensors) -> tuple[Any, Any]:
                loss, weight = self._run(weights | trained, micro, key, loss=True)
                return loss, weight

            (loss, weight), gradient = jax.value_and_grad(losses, has_aux=True)(trained)
            return loss, weight, gradient

        if len(keys) == 1:
            return one({name: value[0] for name, value in batch.items()}, keys[0])

        def add(total: Any, item: Any) -> tuple[Any, None]:
            return jax.tree.map(jnp.add, total, one(*item)), None

        zero = jnp.zeros((), jnp.float32)
        total, _ = jax.lax.scan(add, (zero, zero, jax.tree.map(jnp.zeros_like, trained)), (batch, keys))
        loss, weight, gradient = total
        return loss, weight, gradient

    def _update(
        self, state: dict[str, Any], batch: Tensors, keys: Any, learning_rate: Any
    ) -> tuple[dict[str, Any], Any]:
        """Compute one update; a non-finite one returns the state as it was."""
        self.compilations += 1
        settings = self.settings
        batch = {name: jnp.asarray(value) for name, value in batch.items()}
        loss, weight, gradients = self._gradients(state["weights"], batch, jnp.asarray(keys))
        weight = jnp.maximum(weight, np.finfo(np.float32).tiny)
        loss = loss / weight
        norm = jnp.sqrt(sum(jnp.sum(jnp.square(value)) for value in gradients.values())) / weight
        finite = jnp.isfinite(loss) & jnp.isfinite(norm)
        scale = 1 / weight
        if settings.clip_norm is not None:
            scale = scale * jnp.minimum(
                1.0, settings.clip_norm / jnp.maximum(norm, settings.clip_norm * 1e-6)
            )
        step = state["step"] + 1
        count = step.astype(jnp.float32)
        rectified = settings.optimizer == "radam"
        size = (
            rectified_size(learning_rate, count, settings, keras.ops)
            if rectified
            else step_size(learning_rate, count, settings)
        )
        kept_share = average_decay(count, settings, keras.ops)
        new: dict[str, Any] = {
            "weights": dict(state["weights"]),
            "momentum": {},
            "velocity": {},
            "average": {},
            "step": step,
        }
        for name in self.trained:
            value = state["weights"][name]
            moments = Moments(state["momentum"][name], state["velocity"][name])
            decay = decay_factor(name, learning_rate, settings)
            decayed = value if decay is None else value * decay
            move: Any = radam if rectified else adam
            value, moments = move(decayed, gradients[name] * scale, moments, size, settings)
            new["weights"][name] = value
            new["momentum"][name], new["velocity"][name] = moments
            if settings.ema is not None:
                new["average"][name] = state["average"][name] * kept_share + value * (1 - kept_share)
        kept = jax.tree.map(lambda after, before: jnp.where(finite, after, before), new, state)
        return kept, (loss, weight, norm, finite)
