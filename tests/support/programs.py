"""How tests call a network outside an engine, so that next to nothing is compiled for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import keras


def one_program(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function of arrays as one program on JAX, which would else compile each of its operations.

    TensorFlow computes them as they are called: it would trace them longer. That graphs compute the same is
    what the engines' tests show.
    """
    if keras.backend.backend() != "jax":
        return function
    import jax

    return cast(Callable[..., Any], jax.jit(function))


def shapes_alone(function: Callable[[], Any]) -> None:
    """Run a function for what its own Python does; on JAX nothing is computed."""
    if keras.backend.backend() != "jax":
        function()
        return
    import jax

    jax.eval_shape(function)
