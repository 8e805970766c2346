"""Functions of a network compiled by JAX, for inference alone.

In: a network, a function of tensors that calls it. Out: the compiled function.
Knows nothing about training, tasks or what the function computes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import keras

# On a CPU, XLA multiplies bfloat16 weights in float32, and would hold those of a network in both types.
SPARING = {"xla_cpu_scheduler_type": "CPU_SCHEDULER_TYPE_MEMORY_OPTIMIZED"}


def compiled(
    network: Any, function: Callable[..., Any], donate: tuple[int, ...] = (), loose: Any = None
) -> Callable[..., Any]:
    """Return ``function`` of tensors, which calls ``network``, compiled; see ``engines.compiled``."""
    variables = list(network.variables)

    def run(values: list[Any], *arguments: Any) -> Any:
        with keras.StatelessScope(state_mapping=list(zip(variables, values, strict=True))):
            return function(*arguments)

    options = SPARING if jax.default_backend() == "cpu" else None
    donated = tuple(place + 1 for place in donate)
    jitted = jax.jit(run, donate_argnums=donated, compiler_options=options)
    return lambda *arguments: jitted([variable.value for variable in variables], *arguments)
