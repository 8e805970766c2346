"""One engine per backend, imported only when needed.

In: a backend's name. Out: an ``Engine``, or the backend's device functions.
Knows nothing about runs.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any, Protocol, cast

from clue_runner.engines.base import Engine, EngineSettings, State, StepResult

__all__ = ["Engine", "EngineSettings", "State", "StepResult", "compiled", "create_engine", "device_tools"]


class DeviceTools(Protocol):
    """The functions of an engine's module for devices."""

    def gpu_names(self) -> list[str]:
        """Return a name for each GPU that the backend sees."""

    def use_gpu(self, index: int) -> None:
        """Compute on this GPU only, allocating memory as needed."""

    def use_cpu(self) -> None:
        """Compute on the CPU, even if there are GPUs."""

    def sharing_count(self) -> int:
        """Return how many devices can share a batch: the one in use, and others of its kind."""


def create_engine(backend: str) -> Engine:
    """Return a new engine of ``tensorflow`` or ``jax``; Keras must run on that backend."""
    module = importlib.import_module(f"clue_runner.engines.{backend}")
    return cast(Engine, module.create())


def device_tools(backend: str) -> DeviceTools:
    """Return the backend's device functions."""
    return cast(DeviceTools, importlib.import_module(f"clue_runner.engines.{backend}"))


def compiled(
    backend: str,
    network: Any,
    function: Callable[..., Any],
    donate: tuple[int, ...] = (),
    loose: tuple[tuple[int, ...], ...] | None = None,
) -> Callable[..., Any]:
    """Return a function of tensors that stay on the device, compiled for each shape; for inference only.

    Args:
        backend: the one that Keras runs on.
        network: a layer whose weights the function reads; they are not copied.
        function: takes tensors, or tuples of tensors.
        donate: indices of arguments not needed afterwards, such as a cache that is returned longer.
        loose: of each argument the axes of its tensors whose length changes between calls; where the
            backend can, one graph serves all lengths.
    """
    module = importlib.import_module(f"clue_runner.engines.{backend}_inference")
    return cast(Callable[..., Any], module.compiled(network, function, donate, loose))
