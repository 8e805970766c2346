"""The encoder: embedded tokens, then the blocks, then the optional pooler.

In: a mapping of token ids, segment ids and lengths, and what the tokens may see of each other.
Out: one vector a token and one a row. Knows nothing about text, tasks, checkpoints or training; which parts
an encoder is made of is said by its family.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import keras
from keras import ops

from clue_runner.models import dropout
from clue_runner.models.attention import KeyValues, View
from clue_runner.models.kernels import bias_of, dense, layer_norm
from clue_runner.models.part import Part
from clue_runner.models.positions import Positions
from clue_runner.models.shape import EncoderShape
from clue_runner.models.transformer import Block, run_blocks, run_cached


class Encoded(NamedTuple):
    """What a backbone returns.

    Attributes:
        sequence: (rows, length, width) in the compute type; (rows, 1, width) with ``first_only``.
        pooled: (rows, width), or None without a pooler.
        cache: one ``KeyValues`` a layer with the new tokens in it, or None where none was given.
    """

    sequence: Any
    pooled: Any | None
    cache: tuple[KeyValues, ...] | None = None


class Embeddings(Part):
    """Sum of word, position and segment vectors, normed; mapped where the blocks are wider or narrower.

    Args:
        prefix: stable name of the layer.
        seed: source of the initial weights.
        dtype_policy: ``float32`` or ``mixed_bfloat16``.
        shape: sizes, rates and options.
        vocab_size: rows of the word table.
        positions: makes its tables here, and says what is added to the word vectors.
    """

    def __init__(
        self,
        prefix: str,
        seed: int,
        dtype_policy: str,
        *,
        shape: EncoderShape,
        vocab_size: int,
        positions: Positions,
    ) -> None:
        super().__init__(prefix, seed, dtype_policy)
        self.width, self.hidden = shape.embedding_dim, shape.hidden_dim
        self.segments, self.positions = shape.num_segments, positions
        self.rate, self.epsilon = shape.dropout, shape.layer_norm_epsilon
        # in this order: the norm of all gradients is summed in the order in which weights are made
        self.word = self.weight("word", (vocab_size, self.width), lookup=True)
        positions.create(self.weight, self.width)
        self.segment = self.weight("segment", (self.segments, self.width))
        self.scale = self.weight("norm/scale", (self.width,), "ones")
        self.offset = self.weight("norm/offset", (self.width,), "zeros")
        if self.hidden != self.width:
            self.map_kernel = self.weight("map/kernel", (self.width, self.hidden))
            self.map_bias = self.weight("map/bias", (self.hidden,), "zeros")

    def call(
        self,
        tokens: Mapping[str, Any],
        *,
        position_ids: Any | None = None,
        key: Any | None = None,
        noise: Any | None = None,
    ) -> Any:
        """Return (rows * length, hidden) in the compute type; arguments as in ``Backbone``."""
        token_ids = tokens["token_ids"]
        # .value: TensorFlow then reads the rows out of the variable instead of copying the table first
        words = ops.take(self.word.value, token_ids, axis=0)
        positions = self.positions.embedded(ops.shape(token_ids)[1], position_ids)
        # a product with 0/1 rows: its gradient is a product too, not a scatter into two rows
        chosen = ops.one_hot(ops.reshape(tokens["segment_ids"], (-1,)), self.segments, dtype="float32")
        segments = ops.matmul(chosen, ops.convert_to_tensor(self.segment))
        total = ops.reshape(words if positions is None else words + positions, (-1, self.width)) + segments
        if noise is not None:
            total = total + ops.reshape(noise, (-1, self.width))
        scale, offset = ops.convert_to_tensor(self.scale), ops.convert_to_tensor(self.offset)
        normed = self.cast(layer_norm(total, scale, offset, self.epsilon))
        shape = (ops.shape(normed)[0], self.width)
        drop = dropout.mask(key, "embeddings", shape, self.rate, self.compute_dtype)
        normed = dropout.apply(normed, drop)
        if self.hidden == self.width:
            return normed
        return dense(normed, self.cast(self.map_kernel), self.cast(self.map_bias))


class Backbone(Part):
    """An encoder made of embeddings, blocks and a pooler.

    Args:
        seed: source of the initial weights.
        dtype_policy: ``float32`` or ``mixed_bfloat16``.
        shape: sizes, and what the backward pass computes again.
        embeddings: ``Embeddings``, or a layer called as they are.
        blocks: in order; one block may stand in several places.
        pooler: has dense + tanh on the first token; without it ``pooled`` is None.

    Attributes:
        width: of the vectors that come out.
        embedding_width: of the vectors that ``noise`` is added to.
        max_positions: the longest row.
        has_pooler: whether ``pooled`` is there.
    """

    def __init__(
        self,
        seed: int,
        dtype_policy: str,
        *,
        shape: EncoderShape,
        embeddings: Embeddings,
        blocks: Sequence[Block],
        pooler: bool = True,
    ) -> None:
        super().__init__("backbone", seed, dtype_policy)
        self.width, self.embedding_width = shape.hidden_dim, shape.embedding_dim
        self.max_positions, self.options = shape.position_limit, shape
        self.supports_masking = True  # else Keras warns that it will not hand the mask on
        self.embeddings, self.blocks = embeddings, list(blocks)
        self.has_pooler = pooler
        if pooler:
            self.pooler_kernel = self.weight("pooler/kernel", (self.width, self.width))
            self.pooler_bias = self.weight("pooler/bias", (self.width,), "zeros")

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
        """Encode a batch.

        Args:
            tokens: ``token_ids`` and ``segment_ids``, (rows, length) int32; other entries are not read.
            mask: which keys a query sees: (rows, keys) bool as ``kernels.padding_mask`` makes it; or (rows, 1
                or heads, queries, keys), bool or float32 scores to add, whose gradient flows. An axis of 1
                must be known to be 1 when the graph is made.
            key: (2,) int32 dropout key of this micro-batch; None: inference.
            positions: (rows, length) int32; None: 0, 1, 2, ..., or what follows those in the cache.
            first_only: the caller reads the first token alone; the last block then computes that one
                (the same values, a fifth less work at four blocks) and the sequence is (rows, 1, width).
            noise: (rows, length, embedding width) float32 added to the sum of embeddings, before its norm.
            cache: one ``KeyValues`` a layer; tokens then see its table, and ``mask`` is over the table.
                Inference alone.
        """
        rows, length = ops.shape(tokens["token_ids"])[0], ops.shape(tokens["token_ids"])[1]
        if cache is not None and positions is None:
            positions = (cache[0].filled + ops.arange(length, dtype="int32"))[None]
        embedded = self.embeddings(tokens, position_ids=positions, key=key, noise=noise)
        view = self._view(mask, rows, length, positions)
        if cache is None:
            found = run_blocks(self.blocks, embedded, view, key, first_only=first_only, options=self.options)
        elif key is None and not first_only:
            found, cache = run_cached(self.blocks, embedded, view, cache)
        else:
            raise ValueError("a cache serves inference over all tokens alone")
        sequence = ops.reshape(found, (rows, 1 if first_only else length, self.width))
        pooled = self._pooled(sequence[:, 0]) if self.has_pooler else None
        return Encoded(sequence, pooled, None if cache is None else tuple(cache))

    def compute_mask(self, inputs: Any, previous_mask: Any) -> None:
        """Hang no mask onto what comes out."""

    def _view(self, mask: Any, rows: Any, length: Any, position_ids: Any | None) -> View:
        """Return what attention is told about the batch."""
        ids = None
        if self.embeddings.positions.in_attention:
            ids = ops.arange(length, dtype="int32")[None] if position_ids is None else position_ids
        if keras.backend.standardize_dtype(mask.dtype) == "bool":
            return View(rows, length, bias_of(mask), None, ids)
        return View(rows, length, None, mask, ids)

    def _pooled(self, first: Any) -> Any:
        """Return dense + tanh on the first token."""
        return ops.tanh(dense(first, self.cast(self.pooler_kernel), self.cast(self.pooler_bias)))
