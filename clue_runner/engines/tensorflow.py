"""The engine on TensorFlow: variables, one traced graph with dynamic length, the update inside it.

In: a network builder and numpy batches. Out: losses, outputs and states as numpy.
Knows nothing about epochs, files or tasks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

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
from clue_runner.models.naming import is_lookup, named_variables
from clue_runner.tokens.rows import Array

Tensors = dict[str, Any]


def create() -> TensorFlowEngine:
    """Return a new engine."""
    return TensorFlowEngine()


def gpu_names() -> list[str]:
    """Return a name for each GPU that TensorFlow sees."""
    devices = tf.config.list_physical_devices("GPU")
    return [
        str(tf.config.experimental.get_device_details(device).get("device_name", "GPU")) for device in devices
    ]


def use_gpu(index: int) -> None:
    """Compute on this GPU alone, taking its memory as needed."""
    device = tf.config.list_physical_devices("GPU")[index]
    tf.config.set_visible_devices([device], "GPU")
    tf.config.experimental.set_memory_growth(device, True)


def use_cpu() -> None:
    """Compute on the CPU, whatever else there is."""
    tf.config.set_visible_devices([], "GPU")


class TensorFlowEngine:
    """Runs one network in ``tf.function``; without XLA the length is dynamic and one trace serves all."""

    def __init__(self) -> None:
        self.compilations = 0
        self._shapes: set[Any] = set()

    def init(self, build: Callable[[], Any], settings: EngineSettings) -> None:
        """Build the network and create optimizer and average."""
        self.network = build()
        self.settings = settings
        self.keras_variables = named_variables(self.network)
        self.weights = {name: variable.value for name, variable in self.keras_variables.items()}
        self.trained = {name: self.weights[name] for name, v in self.keras_variables.items() if v.trainable}
        self.moments = {name: Moments(_zeros_like(v), _zeros_like(v)) for name, v in self.trained.items()}
        self.averages = (
            {} if settings.ema is None else {name: tf.Variable(v) for name, v in self.trained.items()}
        )
        self.step_count = tf.Variable(0, dtype=tf.int64)
        # rows of a lookup table that were ever read, at least those whose moments are not 0. A step leaves
        # the others as they are (see optimizers): this decides what is computed and no bit of the result.
        lookups = (
            () if settings.jit else [name for name in self.trained if is_lookup(self.keras_variables[name])]
        )
        self.used = {name: tf.Variable(tf.zeros(self.weights[name].shape[0], tf.bool)) for name in lookups}
        self._functions: dict[str, Any] = {}

    def step(
        self, update: Mapping[str, Array], *, update_index: int, learning_rate: float
    ) -> Callable[[], StepResult]:
        """Run one update; a single micro-batch has a graph of its own without loop and accumulators."""
        batch, micro_batches = dict(update), len(update["weight"])
        keys = update_keys(self.settings.seed, update_index, micro_batches)
        single = micro_batches == 1
        function = self._function(
            "step" if single else "steps", lambda b, k, r: self._update(b, k, r, single), batch
        )
        figures = function(batch, keys, np.float32(learning_rate))

        def read() -> StepResult:
            loss, weight, norm, finite = (figure.numpy() for figure in figures)
            return StepResult(float(loss), float(weight), float(norm), bool(finite))

        return read

    def evaluate(self, batch: Mapping[str, Array], *, averaged: bool) -> Mapping[str, Array]:
        """Return outputs of one batch without dropout."""
        use_average = averaged and bool(self.averages)
        sent = dict(batch)
        name = "evaluate averaged" if use_average else "evaluate"
        function = self._function(name, lambda batch: self._outputs(batch, use_average), sent, step=False)
        return {name: value.numpy() for name, value in function(sent).items()}

    def applied(self) -> int:
        """Return the updates taken in; a step that failed before this count rose has changed no weight."""
        return int(self.step_count.numpy())

    def get_state(self) -> State:
        """Return copies of weights, moments, average and step."""
        return {name: np.array(variable.numpy()) for name, variable in self._state_variables().items()}

    def set_state(self, state: State) -> None:
        """Put a state back, bit for bit."""
        variables = self._state_variables()
        check_state(state, {name: tuple(variable.shape) for name, variable in variables.items()})
        for name, variable in variables.items():
            variable.assign(state[name])
        for name, used in self.used.items():
            moved = (state[MOMENTUM + name] != 0) | (state[VELOCITY + name] != 0)
            used.assign(moved.any(axis=1))

    def get_weights(self, *, averaged: bool) -> State:
        """Return copies of the network's weights."""
        source = self.weights | self.averages if averaged else self.weights
        return {name: np.array(variable.numpy()) for name, variable in source.items()}

    def set_weights(self, weights: State) -> None:
        """Put weights back; the average starts from them too."""
        check_state(weights, {name: tuple(variable.shape) for name, variable in self.weights.items()})
        for name, variable in self.weights.items():
            variable.assign(weights[name])
        for name, variable in self.averages.items():
            variable.assign(weights[name])

    def _state_variables(self) -> dict[str, Any]:
        """Return every variable of the state by its stable name."""
        found: dict[str, Any] = dict(self.weights)
        found |= {MOMENTUM + name: moments.momentum for name, moments in self.moments.items()}
        found |= {VELOCITY + name: moments.velocity for name, moments in self.moments.items()}
        found |= {AVERAGE + name: variable for name, variable in self.averages.items()}
        return found | {STEP: self.step_count}

    def _function(
        self, name: str, run: Callable[..., Any], batch: Mapping[str, Array], *, step: bool = True
    ) -> Any:
        """Return the traced function ``name``, made at the first call for any length of such a batch."""
        if self.settings.jit:
            self._count_shape(name, batch)
        if name not in self._functions:
            signature: list[Any] = [
                {key: tf.TensorSpec([None] * value.ndim, value.dtype) for key, value in batch.items()}
            ]
            if step:
                signature += [tf.TensorSpec([None, 2], tf.int32), tf.TensorSpec([], tf.float32)]

            def traced(*arguments: Any) -> Any:
                if not self.settings.jit:
                    self.compilations += 1
                return run(*arguments)

            self._functions[name] = tf.function(
                traced, input_signature=signature, jit_compile=self.settings.jit, autograph=False
            )
        return self._functions[name]

    def _count_shape(self, name: str, batch: Mapping[str, Array]) -> None:
        """Count a compilation for each shape that XLA has not seen."""
        shape = (name, *sorted((key, value.shape) for key, value in batch.items()))
        if shape not in self._shapes:
            self._shapes.add(shape)
            self.compilations += 1

    def _outputs(self, batch: Tensors, use_average: bool) -> Tensors:
        """Compute outputs for evaluation."""
        averages = self.averages if use_average else {}
        mapping = [
            (self.keras_variables[name], tf.convert_to_tensor(value)) for name, value in averages.items()
        ]
        with keras.StatelessScope(state_mapping=mapping):
            return dict(self.network.answer(batch))

    def _micro_gradients(self, batch: Tensors, key: Any) -> tuple[Any, Any, Tensors]:
        """Return loss sum, weight sum and gradient of the loss sum of one micro-batch.

        Gradients of lookup tables are slices (values, indices), the others are tensors.
        """
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(list(self.trained.values()))
            loss, weight = self.network.loss(batch, key)
        found = tape.gradient(loss, list(self.trained.values()), unconnected_gradients="zero")
        gradients = {}
        for name, gradient in zip(self.trained, found, strict=True):
            if name not in self.used:
                gradients[name] = tf.convert_to_tensor(gradient)
            elif isinstance(gradient, tf.IndexedSlices):
                gradients[name] = gradient
            else:
                gradients[name] = tf.IndexedSlices(gradient, tf.range(gradient.shape[0]))
        return loss, weight, gradients

    def _gradients(self, batch: Tensors, keys: Any, single: bool) -> tuple[Any, Any, Tensors]:
        """Return loss sum, weight sum and gradients over all micro-batches."""
        if single:
            return self._micro_gradients({name: values[0] for name, values in batch.items()}, keys[0])
        count = tf.shape(keys)[0]
        tables = {name: _SliceList.empty(count, self.weights[name].shape[-1]) for name in self.used}
        sums = {name: tf.zeros(v.shape) for name, v in self.trained.items() if name not in tables}

        def body(index: Any, loss: Any, weight: Any, sums: Tensors, tables: Tensors) -> tuple[Any, ...]:
            micro = {name: values[index] for name, values in batch.items()}
            more_loss, more_weight, gradients = self._micro_gradients(micro, keys[index])
            sums = {name: total + gradients[name] for name, total in sums.items()}
            tables = {name: table.write(index, gradients[name]) for name, table in tables.items()}
            return index + 1, loss + more_loss, weight + more_weight, sums, tables

        start = (tf.constant(0), tf.constant(0.0), tf.constant(0.0), sums, tables)
        _, loss, weight, sums, tables = tf.while_loop(
            lambda index, *_: index < count,
            body,
            start,
            parallel_iterations=1,  # two at once would need the memory of both
        )
        return (
            loss,
            weight,
            {name: tables[name].joined() if name in tables else sums[name] for name in self.trained},
        )

    def _update(
        self, batch: Tensors, keys: Any, learning_rate: Any, single: bool
    ) -> tuple[Any, Any, Any, Any]:
        """Compute one update; a non-finite one changes nothing."""
        loss, weight, gradients = self._gradients(batch, keys, single)
        weight = tf.maximum(weight, np.finfo(np.float32).tiny)
        loss = loss / weight
        found = {
            name: _by_row(gradient) if isinstance(gradient, tf.IndexedSlices) else gradient
            for name, gradient in gradients.items()
        }
        # of a table the rows that this update has read: over all that were ever read, the order of the sum
        # would follow from the run so far, and its last bit with it
        arrays = [one.values if isinstance(one, tf.IndexedSlices) else one for one in found.values()]
        norm = tf.sqrt(2 * tf.add_n([tf.nn.l2_loss(one) for one in arrays])) / weight
        finite = tf.math.is_finite(loss) & tf.math.is_finite(norm)
        scale = 1 / weight
        if self.settings.clip_norm is not None:
            limit = self.settings.clip_norm
            scale = scale * tf.minimum(1.0, limit / tf.maximum(norm, limit * 1e-6))
        tf.cond(finite, lambda: self._apply(found, scale, learning_rate), tf.no_op)
        return loss, weight, norm, finite

    def _apply(self, gradients: Tensors, scale: Any, learning_rate: Any) -> Any:
        """Move every weight, its moments and its average by one AdamW step."""
        settings = self.settings
        step = self.step_count.assign_add(1)
        count = tf.cast(step, tf.float32)
        rectified = settings.optimizer == "radam"
        size: Any = (
            rectified_size(learning_rate, count, settings, keras.ops)
            if rectified
            else step_size(learning_rate, count, settings)
        )
        kept_share = average_decay(count, settings, keras.ops)
        # nothing is written before the count has risen: while it stands, a failed step has changed no weight
        with tf.control_dependencies([step]):
            for name, gradient in gradients.items():
                weight, moments = self.weights[name], self.moments[name]
                decay = decay_factor(name, learning_rate, settings)
                if decay is not None and name not in self.used:
                    weight.assign(weight * decay)
                if name in self.used:
                    scaled = tf.IndexedSlices(gradient.values * scale, gradient.indices)
                    self._apply_rows(name, scaled, size, decay)
                elif rectified:
                    stepped, after = radam(weight, gradient * scale, moments, size, settings)
                    for variable, values in zip((weight, *moments), (stepped, *after), strict=True):
                        variable.assign(values)
                else:
                    tf.raw_ops.ResourceApplyAdam(
                        var=weight.handle,
                        m=moments.momentum.handle,
                        v=moments.velocity.handle,
                        beta1_power=tf.pow(settings.beta_1, count),
                        beta2_power=tf.pow(settings.beta_2, count),
                        lr=learning_rate,
                        beta1=settings.beta_1,
                        beta2=settings.beta_2,
                        epsilon=settings.epsilon,
                        grad=gradient * scale,
                    )
                if settings.ema is not None:
                    average = self.averages[name]
                    average.assign(average * kept_share + weight * (1 - kept_share))
        return tf.no_op()

    def _apply_rows(self, name: str, gradient: Any, size: Any, decay: Any | None) -> None:
        """Decay all rows of a lookup table in place and step those that were ever read.

        Rows that never had a gradient need no step (see optimizers); most of a vocabulary is such.
        A variable whose rows are written is copied by every whole read and assignment, so neither is done.
        """
        used, ids = self.used[name], gradient.indices
        marked = tf.tensor_scatter_nd_update(used.read_value(), ids[:, None], tf.ones_like(ids, tf.bool))
        used.assign(marked)
        rows = tf.where(marked)[:, 0]
        place = tf.gather(tf.cumsum(tf.cast(marked, tf.int32)) - 1, ids)
        shape = tf.stack([tf.shape(rows)[0], gradient.values.shape[1]])
        gradient = tf.scatter_nd(place[:, None], gradient.values, shape)
        weight, (momentum, velocity) = self.weights[name], self.moments[name]
        if decay is not None:
            every = tf.range(weight.shape[0])
            tf.raw_ops.ResourceScatterMul(resource=weight.handle, indices=every, updates=decay)
        moments = Moments(tf.gather(momentum, rows), tf.gather(velocity, rows))
        move: Any = radam if self.settings.optimizer == "radam" else adam
        stepped, moments = move(tf.gather(weight, rows), gradient, moments, size, self.settings)
        for variable, values in (
            (weight, stepped),
            (momentum, moments.momentum),
            (velocity, moments.velocity),
        ):
            tf.raw_ops.ResourceScatterUpdate(resource=variable.handle, indices=rows, updates=values)


def _by_row(slices: Any) -> Any:
    """Return the slices with those of equal rows summed, each row once, in the order of its first slice."""
    values = tf.reshape(slices.values, [-1, slices.values.shape[-1]])
    rows, place = tf.unique(tf.reshape(slices.indices, [-1]))
    return tf.IndexedSlices(tf.math.unsorted_segment_sum(values, place, tf.shape(rows)[0]), rows)


class _SliceList(NamedTuple):
    """Slices of all micro-batches, which may differ in number."""

    values: Any
    indices: Any

    @classmethod
    def empty(cls, count: Any, width: int) -> _SliceList:
        """Return room for ``count`` micro-batches of slices of ``width``."""
        shared: dict[str, Any] = {"size": count, "infer_shape": False}
        values = tf.TensorArray(tf.float32, element_shape=[None, width], **shared)
        return cls(values, tf.TensorArray(tf.int32, element_shape=[None], **shared))

    def write(self, index: Any, slices: Any) -> _SliceList:
        """Return the list with the slices of micro-batch ``index``."""
        values = tf.reshape(slices.values, [-1, slices.values.shape[-1]])
        indices = tf.cast(tf.reshape(slices.indices, [-1]), tf.int32)
        return _SliceList(self.values.write(index, values), self.indices.write(index, indices))

    def joined(self) -> Any:
        """Return all slices as one, in the order of the micro-batches."""
        return tf.IndexedSlices(self.values.concat(), self.indices.concat())


def _zeros_like(variable: Any) -> Any:
    """Return an untrained variable of zeros."""
    return tf.Variable(tf.zeros(variable.shape), trainable=False)
