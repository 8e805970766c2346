"""The encoder: word, position and segment vectors, then the blocks, then the optional pooler.

In: token ids, segment ids and lengths. Out: one vector a token and one a row.
Knows nothing about text, tasks, checkpoints or training.
"""

from __future__ import annotations

from typing import Any

from keras import ops

from clue_runner.config.schema import ModelSettings
from clue_runner.models import dropout
from clue_runner.models.kernels import dense, layer_norm, padding_bias
from clue_runner.models.part import Part
from clue_runner.models.positions import position_vectors
from clue_runner.models.transformer import Block, run_blocks

EMBEDDINGS = 1 << 16  # stands for the layer number in dropout keys


class Embeddings(Part):
    """Sum of word, position and segment vectors, normed."""

    def __init__(
        self, prefix: str, seed: int, dtype_policy: str, *, model: ModelSettings, vocab_size: int
    ) -> None:
        super().__init__(prefix, seed, dtype_policy)
        width = model.hidden_dim
        self.width, self.segments = width, model.num_segments
        self.rate, self.epsilon = model.dropout, model.layer_norm_epsilon
        self.alpha = model.positions_alpha if model.positions == "hierarchical" else None
        self.word = self.weight("word", (vocab_size, width), lookup=True)
        self.position = self.weight("position", (model.max_positions, width))
        self.segment = self.weight("segment", (model.num_segments, width))
        self.scale = self.weight("norm/scale", (width,), "ones")
        self.offset = self.weight("norm/offset", (width,), "zeros")

    def call(
        self,
        token_ids: Any,
        segment_ids: Any,
        position_ids: Any | None,
        dropout_key: Any | None,
        noise: Any | None = None,
    ) -> Any:
        """Return (rows * length, width) in the compute type."""
        # .value: TensorFlow then reads the rows out of the variable instead of copying the table first
        words = ops.take(self.word.value, token_ids, axis=0)
        table = ops.convert_to_tensor(self.position)
        positions = position_vectors(table, ops.shape(token_ids)[1], position_ids, alpha=self.alpha)
        # a product with 0/1 rows: its gradient is a product too, not a scatter into two rows
        chosen = ops.one_hot(ops.reshape(segment_ids, (-1,)), self.segments, dtype="float32")
        segments = ops.matmul(chosen, ops.convert_to_tensor(self.segment))
        total = ops.reshape(words + positions, (-1, self.width)) + segments
        if noise is not None:
            total = total + ops.reshape(noise, (-1, self.width))
        scale, offset = ops.convert_to_tensor(self.scale), ops.convert_to_tensor(self.offset)
        normed = self.cast(layer_norm(total, scale, offset, self.epsilon))
        shape = (ops.shape(normed)[0], self.width)
        return dropout.apply(
            normed, dropout.mask(dropout_key, EMBEDDINGS, 0, shape, self.rate, self.compute_dtype)
        )


class Backbone(Part):
    """BERT's encoder.

    Args:
        model: shape and dropout rates.
        vocab_size: rows of the word table.
        dtype_policy: ``float32`` or ``mixed_bfloat16``.
        seed: source of the initial weights.
        pooler: has dense + tanh on the first token; without it ``pooled`` is None.
    """

    def __init__(
        self, model: ModelSettings, vocab_size: int, *, dtype_policy: str, seed: int, pooler: bool = True
    ) -> None:
        super().__init__("backbone", seed, dtype_policy)
        self.width = model.hidden_dim
        self.max_positions = model.position_limit
        self.recompute, self.recompute_policy = model.recompute, model.recompute_policy
        shared = (seed, dtype_policy)
        self.embeddings = Embeddings("backbone/embeddings", *shared, model=model, vocab_size=vocab_size)
        self.blocks = [
            Block(
                f"backbone/block_{layer}",
                *shared,
                layer=layer,
                width=model.hidden_dim,
                heads=model.num_heads,
                inner=model.intermediate_dim,
                activation=model.activation,
                epsilon=model.layer_norm_epsilon,
                rate=model.dropout,
                attention_rate=model.attention_dropout,
                attention_form=model.attention,
            )
            for layer in range(model.num_layers)
        ]
        self.has_pooler = pooler
        if pooler:
            self.pooler_kernel = self.weight("pooler/kernel", (model.hidden_dim, model.hidden_dim))
            self.pooler_bias = self.weight("pooler/bias", (model.hidden_dim,), "zeros")

    def call(
        self,
        token_ids: Any,
        segment_ids: Any,
        lengths: Any,
        position_ids: Any | None = None,
        dropout_key: Any | None = None,
        first_only: bool = False,
        noise: Any | None = None,
    ) -> tuple[Any, Any | None]:
        """Return (sequence, pooled): (rows, length, width) and (rows, width) or None.

        Args:
            token_ids: (rows, length) int32.
            segment_ids: (rows, length) int32.
            lengths: (rows,) int32, tokens before the padding.
            position_ids: (rows, length) int32; None: 0, 1, 2, ...
            dropout_key: (2,) int32 of this micro-batch; None: inference.
            first_only: the caller reads the first token alone; the last block then computes that one
                (the same values, a fifth less work at four blocks) and the sequence is (rows, 1, width).
            noise: (rows, length, width) float32 added to the sum of embeddings, before its norm.
        """
        rows, length = ops.shape(token_ids)[0], ops.shape(token_ids)[1]
        tokens = self.embeddings(token_ids, segment_ids, position_ids, dropout_key, noise)
        bias = padding_bias(lengths, length)
        tokens = run_blocks(
            self.blocks,
            tokens,
            bias,
            dropout_key,
            first_only=first_only,
            recompute=self.recompute,
            policy=self.recompute_policy,
        )
        sequence = ops.reshape(tokens, (rows, 1 if first_only else length, self.width))
        return sequence, self._pooled(sequence[:, 0]) if self.has_pooler else None

    def _pooled(self, first: Any) -> Any:
        """Return dense + tanh on the first token."""
        return ops.tanh(dense(first, self.cast(self.pooler_kernel), self.cast(self.pooler_bias)))
