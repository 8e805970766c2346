"""JAX's devices: how those of one process share each batch, what they can run, programs lowered for one.

In: a number of devices, numpy arrays. Out: arrays on them, rows split, all else on every one of them.
Knows nothing about networks or updates. The compiled step stays the program of one device, written for whole
batches: XLA splits it by where its arguments lie and adds the sums across devices, so that masks of dropout
are the same for any number of devices.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from clue_runner.tokens.rows import Array

ROWS = "rows"  # the mesh's only axis


class Devices:
    """The first ``count`` devices of the kind in use; of one, nothing is said to JAX but its default."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._mesh = None if count == 1 else Mesh(np.array(devices_in_use()[:count]), (ROWS,))
        self._everywhere = self._sharding()

    def compile_options(self) -> dict[str, Any]:
        """Return how ``jax.jit`` is told that all results are needed on every device."""
        return {} if self._everywhere is None else {"out_shardings": self._everywhere}

    def put(self, values: Array) -> Any:
        """Return a copy on every device; ``jnp.array`` and ``jnp.zeros`` compile a program for each shape."""
        return jax.device_put(np.asarray(values), self._everywhere, may_alias=False)

    def take(self, array: Any) -> Any:
        """Return an array of the default device on every device; on the default one its memory is kept."""
        return array if self._everywhere is None else jax.device_put(array, self._everywhere)

    def share(self, batch: Mapping[str, Array], axis: int) -> dict[str, Any]:
        """Return a batch whose rows, along ``axis``, are split among the devices.

        Rows of weight 0 and one token, as batches are filled up with elsewhere, make their number a multiple
        of that of the devices. With one device this is the batch as it is.
        """
        if self._mesh is None:
            return dict(batch)
        missing = -batch["weight"].shape[axis] % self.count
        split = self._sharding(*[None] * axis, ROWS)
        return {
            name: jax.device_put(_filled(values, axis, missing, int(name == "lengths")), split)
            for name, values in batch.items()
        }

    def _sharding(self, *axes: str | None) -> NamedSharding | None:
        return None if self._mesh is None else NamedSharding(self._mesh, PartitionSpec(*axes))


def lowered(function: Any, platform: str | None, state: Any, batch: Mapping[str, Any], *others: Any) -> Any:
    """Return a jitted function of a state and a batch, ready to compile (``jax.stages.Lowered``).

    Args:
        function: the result of ``jax.jit``.
        platform: ``cpu`` or ``cuda``, whether or not there is such a device; None: that in use.
        state: a tree of arrays, or of what JAX knows as a shape.
        batch: anything with a shape and a type, by name; a named tuple would be a tree in ``state``.
        others: what JAX knows as a shape.
    """
    states = jax.tree.map(_shape, state)
    batches = {name: _shape(values) for name, values in batch.items()}
    platforms = None if platform is None else (platform,)
    return function.trace(states, batches, *others).lower(lowering_platforms=platforms)


def _shape(value: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(value.shape, value.dtype)


def devices_in_use() -> list[Any]:
    """Return all devices of the kind that new arrays are put on."""
    chosen = jax.config.jax_default_device
    return list(jax.local_devices(backend=chosen.platform) if chosen else jax.local_devices())


def fused_attention_fault(head_width: int) -> str | None:
    """Return why cuDNN's attention and its gradient do not run on the device in use; None: they do."""

    def total(heads: Any) -> Any:
        lengths = jnp.full((1,), 8, jnp.int32)
        counts = {"query_seq_lengths": lengths, "key_value_seq_lengths": lengths}
        found = jax.nn.dot_product_attention(heads, heads, heads, **counts, implementation="cudnn")
        return jnp.sum(found.astype(jnp.float32))

    try:
        jax.block_until_ready(jax.jit(jax.grad(total))(jnp.zeros((1, 16, 2, head_width), jnp.bfloat16)))
    except Exception as error:  # the error differs from driver to driver
        return str(error).partition("\n")[0][:200] or type(error).__name__
    return None


def _filled(values: Array, axis: int, missing: int, value: int) -> Array:
    """Return an array with ``missing`` more rows of ``value``."""
    if not missing:
        return values
    widths = [(0, missing if place == axis else 0) for place in range(values.ndim)]
    return np.pad(values, widths, constant_values=value)
