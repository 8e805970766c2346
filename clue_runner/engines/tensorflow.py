"""The engine on TensorFlow: variables, one traced graph with dynamic length, the update inside it.

In: a network builder and numpy batches. Out: losses, outputs and states as numpy.
Knows nothing about epochs, files or tasks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from clue_runner.engines import lookahead
from clue_runner.engines.base import EngineSettings, State, StepResult
from clue_runner.engines.passes import NetworkLoss, whole_noise, with_techniques
from clue_runner.engines.rates import rate_factors
from clue_runner.engines.states import AVERAGE, STEP, check_state, empty_state, slot_name
from clue_runner.engines.techniques.base import Gradients, Slices
from clue_runner.engines.tensorflow_variables import (
    SliceList,
    by_row,
    copy_rows,
    kernel_of,
    move_rows,
    slices_of,
)
from clue_runner.engines.update import Move, figures_of
from clue_runner.models.dropout import update_keys
from clue_runner.models.heads.base import NOISE
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


def sharing_count() -> int:
    """Return how many devices can share a batch: only JAX shares."""
    return 1


def _slope(function: Callable[[Any], tuple[Any, Any]], value: Any) -> tuple[tuple[Any, Any], Any]:
    """Return what a function gives at ``value``, and its first result's gradient, under an outer tape too."""
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(value)
        loss, weight = function(value)
    return (loss, weight), tape.gradient(loss, value, unconnected_gradients="zero")


class TensorFlowEngine:
    """Runs one network in ``tf.function``; without XLA the length is dynamic and one trace serves all."""

    def __init__(self) -> None:
        self.compilations = 0
        self._shapes: set[Any] = set()

    def init(self, build: Callable[[], Any], settings: EngineSettings) -> None:
        """Build the network and create optimizer and average."""
        self.network = build()
        self.settings = settings
        for technique in settings.techniques:
            technique.prepare(self.network)
        self._loss = NetworkLoss(self.network, settings.techniques, _slope)
        self.keras_variables = named_variables(self.network)
        self.weights = {name: variable.value for name, variable in self.keras_variables.items()}
        self.trained = {name: self.weights[name] for name, v in self.keras_variables.items() if v.trainable}
        shapes = {name: settings.rule.slots(tuple(v.shape)) for name, v in self.trained.items()}
        self.slots = {
            name: {slot: tf.Variable(tf.zeros(shape), trainable=False) for slot, shape in slots.items()}
            for name, slots in shapes.items()
        }
        self.averages = self._copies(settings.ema is not None)
        self.slow = self._copies(settings.lookahead is not None)
        self._factors = rate_factors(self.trained, settings.layer_decay, settings.rates)
        self.step_count = tf.Variable(0, dtype=tf.int64)
        by_row = settings.rule.skips_unused_rows and not settings.jit
        tables = [name for name in self.trained if by_row and is_lookup(self.keras_variables[name])]
        # rows of a lookup table that were ever read, at least those whose slots are not 0. A step leaves the
        # others as they are (see ``UpdateRule``): this decides what is computed and no bit of the result.
        self.used = {name: tf.Variable(tf.zeros(self.weights[name].shape[0], tf.bool)) for name in tables}
        self._row_by_row = {*tables, *(slot_name(slot, name) for name in tables for slot in self.slots[name])}
        self._pass = with_techniques(self._once, settings.techniques)
        self._functions: dict[str, Any] = {}

    def _copies(self, wanted: bool) -> Tensors:
        """Return a variable beside each trained weight that begins as it, where they are wanted."""
        return {name: tf.Variable(v) for name, v in self.trained.items()} if wanted else {}

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

    def room(self) -> State:
        """Return arrays for ``get_state``."""
        variables = self._state_variables()
        return empty_state({name: (tuple(v.shape), v.dtype.as_numpy_dtype) for name, v in variables.items()})

    def get_state(self, into: State | None = None) -> State:
        """Return copies of weights, slots, average and step."""
        state = self.room() if into is None else into
        for name, variable in self._state_variables().items():
            if name in self._row_by_row:
                copy_rows(variable, state[name])
            else:
                np.copyto(state[name], variable.read_value())  # on a CPU a view of what a step overwrites
        return state

    def set_state(self, state: State) -> None:
        """Put a state back, bit for bit."""
        variables = self._state_variables()
        check_state(state, {name: tuple(variable.shape) for name, variable in variables.items()})
        for name, variable in variables.items():
            variable.assign(state[name])
        for name, used in self.used.items():
            slots = [state[slot_name(slot, name)] for slot in self.slots[name]]
            used.assign(np.any([(values != 0).any(axis=1) for values in slots], axis=0))

    def get_weights(self, *, averaged: bool) -> State:
        """Return copies of the network's weights."""
        source = self.weights | self.averages if averaged else self.weights
        return {name: np.array(variable.numpy()) for name, variable in source.items()}

    def set_weights(self, weights: State) -> None:
        """Put weights back; average and slow weights start from them too."""
        check_state(weights, {name: tuple(variable.shape) for name, variable in self.weights.items()})
        for name, variable in self.weights.items():
            variable.assign(weights[name])
        for name, variable in (*self.averages.items(), *self.slow.items()):
            variable.assign(weights[name])

    def _state_variables(self) -> dict[str, Any]:
        """Return every variable of the state by its stable name."""
        variables: dict[str, Any] = dict(self.weights)
        for name, slots in self.slots.items():
            variables |= {slot_name(slot, name): variable for slot, variable in slots.items()}
        variables |= {AVERAGE + name: variable for name, variable in self.averages.items()}
        variables |= {slot_name(lookahead.SLOT, name): variable for name, variable in self.slow.items()}
        return variables | {STEP: self.step_count}

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

    def _once(self, batch: Mapping[str, Any], key: Any, noise: Any | None) -> Gradients:
        """Run the network and its gradient on one micro-batch; the tables in ``used`` get ``Slices``."""
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            sources = list(self.trained.values())
            if noise is not None:
                noise = whole_noise(self.network, batch, noise)
                sources.append(noise)
                batch = {**batch, NOISE: noise}
            tape.watch(sources)
            loss, weight = self._loss(batch, key)
        gradients = tape.gradient(loss, sources, unconnected_gradients="zero")
        by_name = {
            name: slices_of(gradient) if name in self.used else tf.convert_to_tensor(gradient)
            for name, gradient in zip(self.trained, gradients[: len(self.trained)], strict=True)
        }
        return Gradients(loss, weight, by_name, None if noise is None else gradients[-1])

    def _gradients(self, batch: Tensors, keys: Any, single: bool) -> Gradients:
        """Return the gradients of all micro-batches, summed."""
        if single:
            return self._pass({name: values[0] for name, values in batch.items()}, keys[0], None)
        count = tf.shape(keys)[0]
        tables = {name: SliceList.empty(count, self.weights[name].shape[-1]) for name in self.used}
        sums = {name: tf.zeros(v.shape) for name, v in self.trained.items() if name not in tables}

        def body(index: Any, loss: Any, weight: Any, sums: Tensors, tables: Tensors) -> tuple[Any, ...]:
            micro_batch = {name: values[index] for name, values in batch.items()}
            more = self._pass(micro_batch, keys[index], None)
            sums = {name: total + more.by_name[name] for name, total in sums.items()}
            tables = {name: table.write(index, more.by_name[name]) for name, table in tables.items()}
            return index + 1, loss + more.loss, weight + more.weight, sums, tables

        start = (tf.constant(0), tf.constant(0.0), tf.constant(0.0), sums, tables)
        _, loss, weight, sums, tables = tf.while_loop(
            lambda index, *_: index < count,
            body,
            start,
            parallel_iterations=1,  # two at once would need the memory of both
        )
        by_name = {name: tables[name].joined() if name in tables else sums[name] for name in self.trained}
        return Gradients(loss, weight, by_name)

    def _update(
        self, batch: Tensors, keys: Any, learning_rate: Any, single: bool
    ) -> tuple[Any, Any, Any, Any]:
        """Compute one update; a non-finite one changes nothing."""
        loss, weight, gradients, _ = self._gradients(batch, keys, single)
        gradients = {
            name: by_row(gradient) if isinstance(gradient, Slices) else gradient
            for name, gradient in gradients.items()
        }
        # of a table the rows that this update has read: over all that were ever read, the order of the sum
        # would follow from the run so far, and its last bit with it
        arrays = [one.values if isinstance(one, Slices) else one for one in gradients.values()]
        squares = 2 * tf.add_n([tf.nn.l2_loss(array) for array in arrays])
        figures = figures_of(loss, weight, squares, self.settings.clip_norm)
        tf.cond(figures.finite, lambda: self._apply(gradients, learning_rate, figures.scale), tf.no_op)
        return figures.loss, figures.weight, figures.norm, figures.finite

    def _apply(self, gradients: Tensors, learning_rate: Any, scale: Any) -> Any:
        """Move every weight, its slots and its average."""
        step = self.step_count.assign_add(1)
        move = Move(self.settings, step, learning_rate, scale, self._factors)
        kernel = kernel_of(self.settings.rule)
        # nothing is written before the count has risen: until then, a failed step has changed no weight
        with tf.control_dependencies([step]):
            for name, gradient in gradients.items():
                weight, slots = self.weights[name], self.slots[name]
                if name in self.used:
                    move_rows(name, weight, gradient, slots, move, self.used[name])
                else:
                    kernel(name, weight, gradient, slots, move)
                if name in self.slow:
                    self._look_ahead(lookahead.is_due(step, self.settings.lookahead or 1), name)
                if name in self.averages:
                    self.averages[name].assign(move.average(self.averages[name], weight))
        return tf.no_op()

    def _look_ahead(self, due: Any, name: str) -> None:
        """Put a weight and its slow one back where that is due; else neither is read."""
        weight, slow = self.weights[name], self.slow[name]

        def pull() -> Any:
            slow.assign(lookahead.pulled(slow, weight, self.settings.lookahead_share))
            return weight.assign(slow)

        tf.cond(due, lambda: tf.group(pull()), tf.no_op)
