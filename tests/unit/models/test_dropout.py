"""Masks: a function of the key, the same however they are computed, with the right share kept."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from clue_runner.models import dropout

SHAPE = (32, 3, 37)  # an odd count: half of the last word is unused
KEY = np.array([12345, -678], np.int32)


def draw(key: Any = KEY, site: str = "here", rate: float = 0.1, dtype: str = "float32") -> Any:
    found = dropout.mask(ops.convert_to_tensor(key), site, SHAPE, rate, dtype)
    assert found is not None
    return ops.convert_to_numpy(found.keep)


def test_a_mask_is_a_function_of_key_and_site() -> None:
    first = draw()
    assert np.array_equal(first, draw())
    others = [draw(key=KEY + 1), draw(site="there")]
    for other in others:
        assert 0.7 < (first == other).mean() < 0.9  # independent at rate 0.1: 0.82 agree
    assert np.array_equal(draw(dtype="bfloat16").astype(np.float32), first)


def test_the_share_kept_and_the_factor_cancel() -> None:
    found = dropout.mask(ops.convert_to_tensor(KEY), "here", (1000, 1001), 0.1, "float32")
    assert found is not None
    kept = float(ops.convert_to_numpy(found.keep).mean())
    assert kept == pytest.approx(0.9, abs=2e-3)
    assert found.factor == 65536 / (65536 - 6554)


def test_no_key_or_no_rate_means_no_mask() -> None:
    assert dropout.mask(None, "here", SHAPE, 0.1, "float32") is None
    assert dropout.mask(ops.convert_to_tensor(KEY), "here", SHAPE, 0.0, "float32") is None
    value = ops.ones((2, 2))
    assert dropout.apply(value, None) is value


def test_update_keys_differ_and_do_not_depend_on_their_number() -> None:
    keys = np.concatenate([dropout.update_keys(1, update, 3) for update in range(50)])
    assert keys.dtype == np.int32
    assert len(np.unique(keys, axis=0)) == 150
    assert np.array_equal(dropout.update_keys(1, 7, 2), dropout.update_keys(1, 7, 3)[:2])
    assert not np.array_equal(dropout.update_keys(1, 7, 1), dropout.update_keys(2, 7, 1))


def test_eager_graph_and_xla_give_the_same_mask() -> None:
    if keras.backend.backend() == "jax":
        import jax

        ways = [jax.jit(lambda key: dropout.mask(key, "here", SHAPE, 0.1, "float32").keep)(KEY)]
    else:
        import tensorflow as tf

        def one(key: Any, rows: Any) -> Any:
            return dropout.mask(key, "here", (rows, *SHAPE[1:]), 0.1, "float32").keep

        signature = [tf.TensorSpec([2], tf.int32), tf.TensorSpec([], tf.int32)]
        ways = [
            tf.function(one, input_signature=signature, jit_compile=jit)(KEY, SHAPE[0])
            for jit in (False, True)
        ]
    for way in ways:
        assert np.array_equal(np.asarray(way), draw())
