"""What all GPU tests need: JAX that sees a GPU."""

from __future__ import annotations

import os
from typing import Any

import pytest


@pytest.fixture(scope="module")
def jax() -> Any:
    """JAX with a GPU, Keras running on it."""
    if os.environ.get("KERAS_BACKEND") != "jax":
        pytest.skip("GPU tests run on the JAX backend: set KERAS_BACKEND=jax")
    module = pytest.importorskip("jax", reason="JAX is not installed")
    if module.default_backend() != "gpu":
        pytest.skip("JAX sees no GPU")
    return module
