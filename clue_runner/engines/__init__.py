"""One engine per backend, imported only when it is asked for.

In: a backend's name. Out: an ``Engine``, or the backend's device functions.
Knows nothing about runs.
"""

from __future__ import annotations

import importlib
from typing import Protocol, cast

from clue_runner.engines.base import Engine, EngineSettings, State, StepResult

__all__ = ["Engine", "EngineSettings", "State", "StepResult", "create_engine", "device_tools"]


class DeviceTools(Protocol):
    """What an engine's module says about GPUs."""

    def gpu_names(self) -> list[str]:
        """Return a name for each GPU that the backend sees."""

    def use_gpu(self, index: int) -> None:
        """Compute on this GPU alone, taking memory as needed."""

    def use_cpu(self) -> None:
        """Compute on the CPU, whatever else there is."""


def create_engine(backend: str) -> Engine:
    """Return a new engine of ``tensorflow`` or ``jax``; Keras must run on that backend."""
    module = importlib.import_module(f"clue_runner.engines.{backend}")
    return cast(Engine, module.create())


def device_tools(backend: str) -> DeviceTools:
    """Return the backend's device functions."""
    return cast(DeviceTools, importlib.import_module(f"clue_runner.engines.{backend}"))
