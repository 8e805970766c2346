"""Forms of attention: the same values and slopes, at all lengths and paddings, and right under dropout."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from clue_runner.models import dropout
from clue_runner.models.attention_forms import attend_chunked, attend_fused, attend_whole
from clue_runner.models.kernels import bias_of, padding_mask

KEY = np.array([12345, -678], np.int32)
HEADS, WIDTH = 2, 8


def inputs(length: int, rows: int = 3, seed: int = 0) -> tuple[list[np.ndarray[Any, Any]], Any]:
    """Query, key and value, and lengths: one row full, one of a single token, the others between."""
    generator = np.random.default_rng(seed)
    heads = [generator.normal(size=(rows, HEADS, length, WIDTH)).astype(np.float32) for _ in range(3)]
    lengths = generator.integers(1, length + 1, rows).astype(np.int32)
    lengths[:2] = [length, 1]
    return heads, lengths


def value_and_slopes(
    form: Any, heads: list[Any], lengths: Any, dtype: str = "float32", xla: bool = False
) -> list[np.ndarray[Any, Any]]:
    """The attended values, and the gradients of a weighted sum of those before the padding."""
    length = heads[0].shape[2]
    weight = np.random.default_rng(9).normal(size=heads[0].shape).astype(np.float32)
    weight *= (np.arange(length) < lengths[:, None])[:, None, :, None]

    def run(*heads: Any) -> Any:
        found = form(
            *[ops.cast(one, dtype) for one in heads], bias_of(padding_mask(lengths, ops.shape(heads[0])[2]))
        )
        return ops.sum(ops.cast(found, "float32") * weight), found

    if keras.backend.backend() == "jax":
        import jax

        graded = jax.value_and_grad(run, argnums=(0, 1, 2), has_aux=True)
        (_, value), slopes = jax.jit(graded)(*heads)
    else:
        import tensorflow as tf

        def graded(*heads: Any) -> Any:
            with tf.GradientTape() as tape:
                tape.watch(heads)
                total, value = run(*heads)
            return value, tape.gradient(total, heads)

        function = tf.function(graded, jit_compile=True) if xla else tf.function(graded, autograph=False)
        value, slopes = function(*[tf.constant(one) for one in heads])
    value = ops.convert_to_numpy(ops.cast(value, "float32")) * (weight != 0)
    return [value, *[np.asarray(ops.convert_to_numpy(one)) for one in slopes]]


def in_chunks(chunk: int, key: Any = None, rate: float = 0.0) -> Any:
    return lambda *args: attend_chunked(
        *args, dropout.site(key, "here", rate) if key is not None else None, chunk
    )


def whole(*args: Any) -> Any:
    return attend_whole(*args, None)


@pytest.mark.parametrize(("length", "chunk"), [(8, 8), (33, 7), (130, 64)])
def test_chunks_give_the_values_and_slopes_of_the_whole(length: int, chunk: int) -> None:
    heads, lengths = inputs(length)
    expected = value_and_slopes(whole, heads, lengths)
    for found, one in zip(value_and_slopes(in_chunks(chunk), heads, lengths), expected, strict=True):
        np.testing.assert_allclose(found, one, atol=1e-5)


def test_chunks_in_bfloat16() -> None:
    heads, lengths = inputs(70)
    expected = value_and_slopes(whole, heads, lengths, "bfloat16")
    for found, one in zip(value_and_slopes(in_chunks(32), heads, lengths, "bfloat16"), expected, strict=True):
        assert np.abs(found - one).max() / np.abs(one).max() < 1e-2


def masks_of(length: int, chunk: int, rows: int) -> np.ndarray[Any, Any]:
    """The masks that chunks draw, put together: (rows, heads, length, length), scaled."""
    count = -(-length // chunk)
    size = -(-length // count)
    site = dropout.site(ops.convert_to_tensor(KEY), "here", 0.3)
    assert site is not None
    parts = [site.part(index).mask((rows, HEADS, size, length), "float32") for index in range(count)]
    joined = np.concatenate([ops.convert_to_numpy(one.keep) * one.factor for one in parts], axis=2)
    return joined[:, :, :length]


def test_under_dropout_the_slopes_are_those_of_the_same_masks() -> None:
    length, chunk = 21, 8
    heads, lengths = inputs(length)
    scale = ops.convert_to_tensor(masks_of(length, chunk, len(lengths)))

    def plain(query: Any, key: Any, value: Any, bias: Any) -> Any:
        chance = ops.softmax(ops.einsum("bhqd,bhkd->bhqk", query, key) + bias, axis=-1)
        return ops.einsum("bhqk,bhkd->bhqd", chance * scale, value)

    found = value_and_slopes(in_chunks(chunk, ops.convert_to_tensor(KEY), 0.3), heads, lengths, xla=True)
    for one, expected in zip(found, value_and_slopes(plain, heads, lengths), strict=True):
        np.testing.assert_allclose(one, expected, atol=1e-5)


def test_every_chunk_has_masks_of_its_own() -> None:
    masks = masks_of(24, 8, 4) > 0
    assert 0.67 < masks.mean() < 0.73
    chunks = [masks[:, :, start : start + 8] for start in (0, 8, 16)]
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert 0.5 < (chunks[one] == chunks[other]).mean() < 0.66  # independent: 0.58 agree


@pytest.mark.parametrize("words", [(0, 0), (-1, 1), (2**31 - 1, -(2**31)), (65535, -65536)])
def test_a_key_survives_as_floats(words: tuple[int, int]) -> None:
    site = dropout.Site(ops.convert_to_tensor(np.array(words, np.int32)), 0.1)
    assert ops.convert_to_numpy(site.from_floats(site.as_floats()).key).tolist() == list(words)


def test_the_fused_kernel_raises_where_it_cannot_run() -> None:
    if keras.backend.backend() != "jax":
        pytest.skip("the fused kernel is JAX's")
    import jax

    if jax.default_backend() == "gpu":
        pytest.skip("this machine has a GPU: tests/gpu")
    heads, lengths = inputs(8)
    with pytest.raises(Exception, match=r"(?i)cudnn|cuda|bf16"):
        attend_fused(*[ops.convert_to_tensor(one) for one in heads], bias_of(padding_mask(lengths, 8)))
