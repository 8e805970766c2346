"""Hand-written gradients against plain formulas: values, gradients, float32 and bfloat16."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops
from support.programs import one_program

from clue_runner.models import kernels
from clue_runner.models.dropout import Mask

Normal = Callable[..., np.ndarray[Any, Any]]


@pytest.fixture
def normal() -> Normal:
    """Draws normal numbers of a shape; each test begins the same sequence anew, whichever others run."""
    generator = np.random.default_rng(0)
    return lambda *shape: generator.standard_normal(shape).astype(np.float32)


def gradients(function: Callable[..., Any], values: list[Any], weight: np.ndarray[Any, Any]) -> list[Any]:
    """The gradient of sum(weight * function(*values)) by the backend's own differentiation."""
    if keras.backend.backend() == "jax":
        import jax

        slopes = jax.grad(
            lambda *given: ops.sum(function(*given) * weight), argnums=tuple(range(len(values)))
        )
        found = jax.jit(slopes)(*map(np.asarray, values))
        return [np.asarray(one) for one in found]
    import tensorflow as tf

    tensors = [tf.constant(value) for value in values]
    with tf.GradientTape() as tape:
        tape.watch(tensors)
        total = tf.reduce_sum(function(*tensors) * weight)
    return [one.numpy() for one in tape.gradient(total, tensors)]


def tensors(values: list[Any]) -> list[Any]:
    return [ops.convert_to_tensor(value) for value in values]


def plain_gelu(x: Any) -> Any:
    return x * 0.5 * (1 + ops.erf(x / math.sqrt(2)))


def plain_norm(x: Any, scale: Any, offset: Any) -> Any:
    centred = x - ops.mean(x, axis=-1, keepdims=True)
    return centred / ops.sqrt(ops.mean(centred**2, axis=-1, keepdims=True) + 1e-12) * scale + offset


KEEP = (np.random.default_rng(5).random((2, 3, 4, 5)) > 0.3).astype(np.float32)
BIAS = np.where(np.arange(5) < np.array([5, 3])[:, None], 0, -1e9).astype(np.float32)[:, None, None, :]


def plain_attention(query: Any, key: Any, value: Any) -> Any:
    probabilities = ops.softmax(ops.einsum("bhqd,bhkd->bhqk", query, key) + BIAS, axis=-1)
    return ops.einsum("bhqk,bhkd->bhqd", probabilities * KEEP * 1.25, value)


def own_attention(query: Any, key: Any, value: Any) -> Any:
    return kernels.attend(
        query, key, value, ops.convert_to_tensor(BIAS), Mask(ops.convert_to_tensor(KEEP), 1.25)
    )


CASES = [
    ("dense", kernels.dense, lambda x, w, b: ops.matmul(x, w) + b, [(7, 5), (5, 3), (3,)], (7, 3)),
    ("gelu", kernels.gelu, plain_gelu, [(9, 8)], (9, 8)),
    ("norm", lambda x, s, o: kernels.layer_norm(x, s, o, 1e-12), plain_norm, [(9, 8), (8,), (8,)], (9, 8)),
    (
        "sum",
        lambda x, branch: kernels.residual_sum(x, branch, Mask(ops.convert_to_tensor(KEEP[0, 0]), 1.25)),
        lambda x, branch: x + branch * KEEP[0, 0] * 1.25,
        [(4, 5), (4, 5)],
        (4, 5),
    ),
    ("attention", own_attention, plain_attention, [(2, 3, 4, 6), (2, 3, 5, 6), (2, 3, 5, 6)], (2, 3, 4, 6)),
]


@pytest.mark.parametrize(("name", "own", "plain", "shapes", "out"), CASES, ids=[case[0] for case in CASES])
def test_values_and_gradients_equal_the_plain_formula(
    normal: Normal, name: str, own: Any, plain: Any, shapes: list[tuple[int, ...]], out: tuple[int, ...]
) -> None:
    values = [normal(*shape) for shape in shapes]
    weight = normal(*out)
    expected, found = (ops.convert_to_numpy(one_program(one)(*tensors(values))) for one in (plain, own))
    np.testing.assert_allclose(found, expected, atol=2e-6)
    for mine, theirs in zip(gradients(own, values, weight), gradients(plain, values, weight), strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-5)


def test_the_gradient_of_gelu_by_hand() -> None:
    # gelu'(x) = P(normal < x) + x * density(x); at 1: 0.841345 + 0.241971
    (gradient,) = gradients(kernels.gelu, [np.array([[1.0, 0.0]], np.float32)], np.ones((1, 2), np.float32))
    np.testing.assert_allclose(gradient, [[1.0833155, 0.5]], atol=1e-6)


def test_a_row_that_is_all_padding_gives_numbers(normal: Normal) -> None:
    bias = kernels.bias_of(kernels.padding_mask(ops.convert_to_tensor(np.array([0, 2], np.int32)), 3))
    values = [ops.convert_to_tensor(normal(2, 1, 3, 4)) for _ in range(3)]
    attend = one_program(lambda *given: kernels.attend(*given, bias, None))
    found = ops.convert_to_numpy(attend(*values))
    assert np.isfinite(found).all()
    mean = ops.convert_to_numpy(values[2])[0].mean(axis=1, keepdims=True)
    np.testing.assert_allclose(found[0], np.broadcast_to(mean, found[0].shape), atol=1e-6)


def test_bfloat16_stays_close_to_float32(normal: Normal) -> None:
    values = [normal(2, 3, 4, 6), normal(2, 3, 5, 6), normal(2, 3, 5, 6)]
    exact = ops.convert_to_numpy(one_program(own_attention)(*tensors(values)))

    def half(*given: Any) -> Any:
        drop = Mask(ops.cast(KEEP, "bfloat16"), 1.25)
        return kernels.attend(
            *(ops.cast(one, "bfloat16") for one in given), ops.convert_to_tensor(BIAS), drop
        )

    found = one_program(half)(*tensors(values))
    assert keras.backend.standardize_dtype(found.dtype) == "bfloat16"
    np.testing.assert_allclose(ops.convert_to_numpy(ops.cast(found, "float32")), exact, atol=5e-2)
