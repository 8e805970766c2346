"""GPT2-ML's decoder: a norm between attention and feed-forward that the residual bypasses, and one after.

In: a shape, the size of the vocabulary, precision and seed. Out: a ``Backbone`` with random weights in which
a token attends to itself and the tokens before it, whatever the mask.
Knows nothing about checkpoints; they are loaded into it by name afterwards.

A block on x: s = x + attention(x); y = norm1(s + feed_forward(norm0(s))). BERT norms s before the second
residual branches off, GPT-2 norms x before attention and has no norm after.
Source: imcaspar/gpt2-ml, train/modeling.py, and bert4keras's GPT2_ML.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import ops

from clue_runner.models.attention import KeyValues
from clue_runner.models.backbone import Backbone, Encoded
from clue_runner.models.embeddings import word_vectors
from clue_runner.models.kernels import NEGATIVE, layer_norm, residual_sum
from clue_runner.models.masks import causal_mask
from clue_runner.models.part import POLICIES, Part
from clue_runner.models.positions import LearnedPositions, Positions
from clue_runner.models.transformer import Block


class DecoderEmbeddings(Part):
    """Sum of word and position vectors, normed; without segments and without dropout.

    Args:
        prefix: stable name of the layer.
        seed: source of the initial weights.
        dtype_policy: as of every ``Part``.
        shape: the family's.
        vocab_size: rows of the token embeddings.
    """

    def __init__(self, prefix: str, seed: int, dtype_policy: str, *, shape: Any, vocab_size: int) -> None:
        super().__init__(prefix, seed, dtype_policy)
        self.width, self.epsilon = shape.hidden_dim, shape.layer_norm_epsilon
        self.positions: Positions = LearnedPositions(shape.max_positions)
        self.word = self.weight("word", (vocab_size, self.width), lookup=True)
        self.positions.create(self.weight, self.width)
        self.scale = self.weight("norm/scale", (self.width,), "ones")
        self.offset = self.weight("norm/offset", (self.width,), "zeros")

    def call(
        self,
        tokens: Mapping[str, Any],
        *,
        position_ids: Any | None = None,
        key: Any | None = None,
        noise: Any | None = None,
    ) -> Any:
        """Return (rows * length, width) in the compute type; arguments as in ``Backbone``."""
        token_ids = tokens["token_ids"]
        words = ops.cast(word_vectors(tokens, self.word), "float32")
        places = self.positions.embedded(ops.shape(token_ids)[1], position_ids)
        total = ops.reshape(words + ops.cast(places, "float32"), (-1, self.width))
        if noise is not None:
            total = total + ops.reshape(noise, (-1, self.width))
        scale, offset = ops.cast(self.scale, "float32"), ops.cast(self.offset, "float32")
        return self.cast(layer_norm(total, scale, offset, self.epsilon))


class DecoderBlock(Block):
    """Attention without a norm before it; the residual goes around the norm that feed-forward reads."""

    def second_half(self, state: Any, layer: int, key: Any | None) -> Any:
        """Return state + dropout(two dense layers on its norm), float32, the last norm still to come."""
        branch = self.branch(self.attention_norm(state), key)
        drop = self._mask(state, f"layers/{layer}/feed_forward/output", key)
        return residual_sum(state, branch, drop)


class Decoder(Backbone):
    """A backbone whose tokens never see what comes after them."""

    def call(
        self,
        tokens: Mapping[str, Any],
        *,
        mask: Any,
        key: Any | None = None,
        positions: Any | None = None,
        first_only: bool = False,
        noise: Any | None = None,
        cache: Sequence[KeyValues] | None = None,
    ) -> Encoded:
        """Decode a batch; arguments as in ``Backbone``, ``mask`` being narrowed to earlier tokens."""
        length = ops.shape(tokens["token_ids"])[1]
        keys = length if cache is None else ops.shape(cache[0].key)[2]
        before = causal_mask(length, keys, 0 if cache is None else cache[0].filled)
        if keras.backend.standardize_dtype(mask.dtype) == "bool":
            mask = (mask[:, None, None, :] if len(mask.shape) == 2 else mask) & before
        else:
            mask = mask + ops.where(before, 0.0, NEGATIVE)
        found: Encoded = super().call(
            tokens,
            mask=mask,
            key=key,
            positions=positions,
            first_only=first_only,
            noise=noise,
            cache=cache,
        )
        return found


def build(shape: Any, vocab_size: int, *, precision: str, seed: int, pooler: bool = True) -> Backbone:
    """Return the decoder; arguments as in ``Architecture.build``. It has no pooler in any case."""
    shared = (seed, POLICIES[precision])
    embeddings = DecoderEmbeddings("backbone/embeddings", *shared, shape=shape, vocab_size=vocab_size)
    blocks = [
        DecoderBlock(f"backbone/block_{layer}", *shared, shape=shape) for layer in range(shape.num_layers)
    ]
    return Decoder(*shared, shape=shape, embeddings=embeddings, blocks=blocks, pooler=False)
