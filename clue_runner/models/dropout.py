"""Dropout masks as a pure function of a key: no layer keeps random state.

In: a key of two 32-bit words made from (run seed, update, micro-batch), folded with the name of the place
that drops, so that a place added elsewhere changes no mask. Out: a 0/1 mask and the factor that keeps the
expectation. Knows nothing about layers.

Random bits come from Philox as integers and are compared with an integer threshold: float draws
differ between TensorFlow's graph and XLA, integers do not. One 32-bit word serves two elements.
"""

from __future__ import annotations

import hashlib
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

_LEVELS = 1 << 16
_SPREAD = np.int32(-1640531535)  # 2**32 / golden ratio: neighbouring numbers differ in many bits


class Mask(NamedTuple):
    """The factors of a mask: ``keep`` holds 0 and 1 in the compute type, ``factor`` is 1 / P(keep)."""

    keep: Any
    factor: float


class Site(NamedTuple):
    """One place where a network drops: the key folded for it, (2,) int32, and the rate."""

    key: Any
    rate: float

    def mask(self, shape: tuple[Any, ...], dtype: str) -> Mask:
        """Return the site's mask."""
        dropped = threshold(self.rate)
        keep = random_words(self.key, shape) >= dropped
        return Mask(ops.cast(keep, dtype), _LEVELS / (_LEVELS - dropped))

    def part(self, index: Any) -> Site:
        """Return the site of part ``index`` (a number or a scalar tensor) of a mask drawn in parts."""
        spread = ops.cast(index, "int32") * _SPREAD
        return Site(ops.bitwise_xor(self.key, ops.stack([spread, spread])), self.rate)

    def as_floats(self) -> Any:
        """Return the key as four integral float32, which pass a hand-written gradient unchanged."""
        high = self.key // _LEVELS
        return ops.cast(ops.concatenate([high, self.key - high * _LEVELS]), "float32")

    def from_floats(self, floats: Any) -> Site:
        """Return a site with the key that ``as_floats`` wrote, at this site's rate."""
        high, low = ops.split(ops.cast(floats, "int32"), 2)
        return Site(high * _LEVELS + low, self.rate)


def update_keys(seed: int, update_index: int, micro_batches: int) -> NDArray[np.int32]:
    """Return (micro-batches, 2) int32 keys, a function of seed, update and position in the update."""
    words = [
        np.random.SeedSequence((seed, update_index, micro)).generate_state(2)
        for micro in range(micro_batches)
    ]
    return np.stack(words).astype(np.uint32).view(np.int32)


def fold(key: Any, name: str) -> Any:
    """Return the key of one dropout site; no two sites of a network share a name."""
    words = np.frombuffer(hashlib.sha256(name.encode()).digest()[:8], "<i4")
    return ops.bitwise_xor(key, ops.convert_to_tensor(words, dtype="int32"))


def threshold(rate: float) -> int:
    """Return how many of 65,536 equally likely values drop an element."""
    return min(round(rate * _LEVELS), _LEVELS - 1)


def site(key: Any | None, name: str, rate: float) -> Site | None:
    """Return one place where a network drops, or None at inference (no key) and at rate 0."""
    return None if key is None or threshold(rate) == 0 else Site(fold(key, name), rate)


def mask(key: Any | None, name: str, shape: tuple[Any, ...], rate: float, dtype: str) -> Mask | None:
    """Return the mask of one site, or None at inference (no key) and at rate 0."""
    found = site(key, name, rate)
    return None if found is None else found.mask(shape, dtype)


def apply(value: Any, drop: Mask | None) -> Any:
    """Return ``value`` with dropped elements at 0 and the others scaled up."""
    return value if drop is None else value * drop.keep * ops.cast(drop.factor, value.dtype)


def random_words(key: Any, shape: tuple[Any, ...]) -> Any:
    """Return uint16 random words of ``shape`` (dimensions may be tensors)."""
    if keras.backend.backend() == "jax":
        return _random_words_jax(key, shape)
    return _random_words_tensorflow(key, shape)


def _random_words_jax(key: Any, shape: tuple[int, ...]) -> Any:
    """Philox by XLA's bit generator, its 128-bit state taken from the key."""
    from jax import lax

    count = int(np.prod(shape))
    state = lax.bitcast_convert_type(ops.concatenate([key, key ^ 0x5BF03635]), "uint32")
    _, bits = lax.rng_bit_generator(state, ((count + 1) // 2,), algorithm=lax.RandomAlgorithm.RNG_PHILOX)
    return lax.bitcast_convert_type(bits, "uint16").reshape(-1)[:count].reshape(shape)


def _random_words_tensorflow(key: Any, shape: tuple[Any, ...]) -> Any:
    """Philox by TensorFlow's stateless generator, named so that no device picks another one."""
    import tensorflow as tf

    whole = tf.stack(shape)
    count = tf.reduce_prod(whole)
    bits = tf.random.stateless_uniform(
        [(count + 1) // 2], key, minval=None, maxval=None, dtype=tf.uint32, alg="philox"
    )
    return tf.reshape(tf.reshape(tf.bitcast(bits, tf.uint16), [-1])[:count], whole)
