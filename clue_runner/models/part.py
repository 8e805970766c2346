"""The base of this project's Keras layers: weights with stable names, explicit types, no random state.

In: a name prefix and a seed. Out: a layer whose weights exist once it is constructed.
Knows nothing about what the layer computes.
"""

from __future__ import annotations

from typing import Any, Literal

import keras
import numpy as np

from clue_runner.models.initial import given_value, glorot_uniform, truncated_normal, uniform
from clue_runner.models.naming import give_name

Start = Literal["normal", "glorot", "uniform", "zeros", "ones"]
STORED = "bfloat16_stored"  # a precision for inference alone: weights are bfloat16 too, half the memory
# What a precision is called, and Keras's policy: float32 weights in all but the last.
POLICIES = {
    "float32": "float32",
    "bfloat16": "mixed_bfloat16",
    "mixed_bfloat16": "mixed_bfloat16",
    STORED: "bfloat16",
}
DRAWN = {"normal": truncated_normal, "glorot": glorot_uniform, "uniform": uniform}


class Part(keras.layers.Layer):
    """A layer with named float32 weights that computes in its policy's compute type.

    Casts are written out in ``call`` (Keras's autocast is off), so that the same code gives the same
    sequence of operations on every backend.

    Args:
        prefix: stable name of the layer, e.g. ``backbone/block_0/attention``.
        seed: source of the initial weights.
        dtype_policy: ``float32`` or ``mixed_bfloat16``.
    """

    def __init__(self, prefix: str, seed: int, dtype_policy: str) -> None:
        super().__init__(name=prefix.replace("/", "_"), dtype=dtype_policy, autocast=False)
        self.prefix = prefix
        self.seed = seed
        self.built = True

    def weight(
        self, name: str, shape: tuple[int, ...], start: Start = "normal", *, lookup: bool = False
    ) -> Any:
        """Create the weight ``prefix/name``: float32, but for the precision that stores bfloat16.

        Args:
            name: stable name below the prefix.
            shape: kernels are (in, out).
            start: ``normal`` is truncated at two deviations of 0.02, ``glorot`` and ``uniform`` are Keras's
                own defaults for dense layers and for tables.
            lookup: a table of which a step reads few rows.
        """
        full = f"{self.prefix}/{name}"

        def initial(shape: tuple[int, ...], dtype: Any = None) -> Any:
            given = given_value(full, tuple(shape), self.variable_dtype)
            if given is not None:
                return keras.ops.convert_to_tensor(given)
            if start in DRAWN:
                value = DRAWN[start](self.seed, full, tuple(shape))
            else:
                value = np.full(shape, float(start == "ones"), np.float32)
            # with its type named, JAX sends an array as it is; without, it compiles a program for each shape
            return keras.ops.cast(keras.ops.convert_to_tensor(value, "float32"), self.variable_dtype)

        variable = self.add_weight(
            shape=shape,
            initializer=initial,
            dtype=self.variable_dtype,
            name=name.replace("/", "_"),
            autocast=False,
        )
        give_name(variable, full, lookup=lookup)
        return variable

    def cast(self, value: Any) -> Any:
        """Return ``value`` in the compute type."""
        return keras.ops.cast(value, self.compute_dtype)
