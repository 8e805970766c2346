"""Recomputation: part of a network keeps only its inputs and runs again in the backward pass.

In: a function of tensors and its inputs. Out: what the function returns, with the same gradients.
Knows nothing about layers or dropout.

Correct with dropout, since masks are a function of a key (see ``dropout``) that is an input: the second
run sees the same key. Stateful random layers inside the function would draw anew; none exist here.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import keras

from clue_runner.config.recompute import segment_size
from clue_runner.models.shape import Policy

Step = Callable[..., Any]


def recomputed(function: Callable[..., Any], *tensors: Any, policy: Policy = "nothing") -> Any:
    """Return ``function(*tensors)``, a tensor; the backward pass computes it again from ``tensors``.

    Args:
        function: of tensors, without random state of its own. Weights that it reads get their gradients.
            Every other tensor that needs a gradient, and every dropout key, must be among ``tensors``: on
            TensorFlow a gradient that would leave through a closure is lost, and a key in a closure may
            keep its masks alive.
        tensors: of any type; None stays None.
        policy: what JAX keeps all the same: ``nothing``, ``dots`` (products with weights) or ``everything``.

    Raises:
        ValueError: a policy on TensorFlow, which has none.
    """
    if keras.backend.backend() == "jax":
        return _recomputed_jax(function, tensors, policy)
    if policy != "nothing":
        raise ValueError(f"TensorFlow recomputes everything; policy {policy!r} needs JAX")
    return _recomputed_tensorflow(function, tensors)


def run_steps(
    steps: Sequence[Step], tokens: Any, *shared: Any, recompute: str, policy: Policy = "nothing"
) -> Any:
    """Return ``tokens`` after all steps, each ``step(tokens, *shared)``, recomputed a few steps at a time.

    Args:
        steps: blocks, or halves of blocks for ``sublayer``.
        tokens: what the first step takes.
        shared: further inputs of every step, as in ``recomputed``.
        recompute: ``model.recompute``.
        policy: ``model.recompute_policy``.
    """
    size = segment_size(recompute)
    if size is None:
        return chain(steps, tokens, *shared)
    for start in range(0, len(steps), size):
        some = steps[start : start + size]
        tokens = recomputed(functools.partial(chain, some), tokens, *shared, policy=policy)
    return tokens


def chain(steps: Sequence[Step], tokens: Any, *shared: Any) -> Any:
    """Return ``tokens`` after all steps."""
    for step in steps:
        tokens = step(tokens, *shared)
    return tokens


def _recomputed_jax(function: Callable[..., Any], tensors: Sequence[Any], policy: Policy) -> Any:
    """JAX's own checkpoint where a policy is asked for; else the same by hand, tied to the gradient.

    The barrier of ``jax.checkpoint`` is gone when XLA orders operations for a CPU: it then runs all second
    runs early and saves nothing. A second run that takes a number from the gradient cannot be early.
    """
    import jax

    if policy != "nothing":
        rules = {
            "dots": jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
            "everything": jax.checkpoint_policies.everything_saveable,
        }
        return jax.checkpoint(function, policy=rules[policy])(*tensors)
    given, whole = _without_gaps(tensors)
    closed, captured = jax.closure_convert(lambda *values: function(*whole(values)), *given)

    @jax.custom_vjp
    def run(*inputs: Any) -> Any:
        return closed(*inputs)

    def forward(*inputs: Any) -> tuple[Any, Any]:
        return closed(*inputs), inputs

    def backward(inputs: Sequence[Any], upstream: Any) -> tuple[Any, ...]:
        again = [_jax_after(value, [upstream]) for value in inputs]
        number = jax.numpy.floating
        places = [place for place, value in enumerate(again) if jax.numpy.issubdtype(value.dtype, number)]

        def second(*sources: Any) -> Any:
            for place, value in zip(places, sources, strict=True):
                again[place] = value
            return closed(*again)

        _, pull = jax.vjp(second, *[again[place] for place in places])
        gradients = dict(zip(places, pull(upstream), strict=True))
        own = [gradient for place, gradient in gradients.items() if place >= len(given)]
        # The part below begins when this one is done, its weights' gradients too: they hold activations.
        return tuple(
            _jax_after(gradients[place], own)
            if place in gradients and place < len(given)
            else gradients.get(place)
            for place in range(len(inputs))
        )

    run.defvjp(forward, backward)
    return run(*given, *captured)


def _jax_after(value: Any, awaited: Sequence[Any]) -> Any:
    """Return ``value`` by an operation that needs the awaited gradients: plus 1 if they are NaN."""
    import jax

    if not awaited:
        return value
    firsts = [jax.numpy.isnan(one.ravel()[:1]).any() for one in awaited]
    broken = functools.reduce(jax.numpy.logical_or, firsts)
    return value | broken if value.dtype == bool else value + broken.astype(value.dtype)


def _recomputed_tensorflow(function: Callable[..., Any], tensors: Sequence[Any]) -> Any:
    """A custom gradient that runs the function again once the gradient from above is there."""
    import tensorflow as tf

    given, whole = _without_gaps(tensors)

    @tf.custom_gradient
    def run(*inputs: Any) -> tuple[Any, Callable[..., Any]]:
        def gradient(upstream: Any, variables: Sequence[Any] = ()) -> Any:
            # Without this wait the graph would start all second runs at once, or merge them with the first.
            with tf.control_dependencies([upstream]):
                again = [_tensorflow_after(value, [upstream]) for value in inputs]
                sources = [value for value in again if value.dtype.is_floating]
                with tf.GradientTape(watch_accessed_variables=False) as tape:
                    tape.watch(sources)
                    tape.watch(list(variables))
                    result = function(*whole(again))
                gradients = tape.gradient(result, [*sources, *variables], output_gradients=upstream)
            below, own = gradients[: len(sources)], gradients[len(sources) :]
            # The part below begins when this one is done, its weights' gradients too: they hold activations.
            awaited = [tf.convert_to_tensor(gradient) for gradient in own if gradient is not None]
            with tf.control_dependencies(awaited):
                found = iter(
                    [None if gradient is None else _tensorflow_after(gradient, awaited) for gradient in below]
                )
            gradients_in = [next(found) if value.dtype.is_floating else None for value in again]
            return (gradients_in, own) if variables else gradients_in

        return function(*whole(inputs)), gradient

    return run(*given)


def _tensorflow_after(value: Any, awaited: Sequence[Any]) -> Any:
    """Return ``value`` by an operation that needs the awaited gradients: plus 1 if they are NaN.

    XLA drops control dependencies; this ties by data.
    """
    import tensorflow as tf

    if not awaited:
        return value
    firsts = [tf.cast(tf.reduce_max(tf.reshape(one, [-1])[:1]), tf.float32) for one in awaited]
    broken = tf.math.is_nan(tf.add_n(firsts))
    return tf.logical_or(value, broken) if value.dtype.is_bool else value + tf.cast(broken, value.dtype)


def _without_gaps(tensors: Sequence[Any]) -> tuple[list[Any], Callable[[Sequence[Any]], list[Any]]]:
    """Return the tensors that are not None, and a function that puts such a list back among the Nones."""
    places = [place for place, tensor in enumerate(tensors) if tensor is not None]

    def whole(values: Sequence[Any]) -> list[Any]:
        found: list[Any] = [None] * len(tensors)
        for place, value in zip(places, values, strict=True):
            found[place] = value
        return found

    return [tensors[place] for place in places], whole
