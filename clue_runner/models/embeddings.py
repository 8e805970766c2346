"""Turns token ids into the input vectors of the first block.

In: word ids, segment ids, positions. Out: (tokens, width). Knows nothing about blocks, text or checkpoints;
the family decides which tables there are and where a narrow embedding is widened.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from keras import ops

from clue_runner.models import dropout
from clue_runner.models.kernels import dense, layer_norm, root_mean_norm
from clue_runner.models.part import Part
from clue_runner.models.positions import Positions
from clue_runner.models.shape import EncoderShape

Widening = Literal["normed", "words"]
WORDS = "word_vectors"  # batch entry: read in place of the table's rows, (rows, length, its width) float32


def word_vectors(tokens: Mapping[str, Any], table: Any) -> Any:
    """Return the token embeddings of ``token_ids``, or ``WORDS`` where the batch has them."""
    if WORDS in tokens:
        return tokens[WORDS]
    # .value: TensorFlow then reads the rows out of the variable instead of copying the table first
    return ops.take(table.value, tokens["token_ids"], axis=0)


class Embeddings(Part):
    """Sum of word, position and segment vectors, normed; mapped where the blocks are wider or narrower.

    Args:
        prefix: stable name of the layer.
        seed: source of the initial weights.
        dtype_policy: ``float32`` or ``mixed_bfloat16``.
        shape: sizes, rates and options.
        vocab_size: rows of the token embeddings.
        positions: makes its tables here, and determines what is added to the word vectors.
        widened: what is mapped if table and blocks differ in width: ``normed``, the normed sum, by a layer
            with a bias; ``words``, the word vectors before they are summed, by a matrix.
        further: name -> (rows of a table, the row added to every token).
        bare: the norm has no weights and no mean, and comes behind the dropout; nothing has a bias.

    Attributes:
        width: of the sum, which ``noise`` is added to.
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
        widened: Widening = "normed",
        further: Mapping[str, tuple[int, int]] | None = None,
        bare: bool = False,
    ) -> None:
        super().__init__(prefix, seed, dtype_policy)
        words, self.hidden = shape.embedding_dim, shape.hidden_dim
        self.width = self.hidden if widened == "words" else words
        self.segments, self.positions = shape.num_segments, positions
        self.rate, self.epsilon, self.bare = shape.dropout, shape.layer_norm_epsilon, bare
        # in this order: the norm of all gradients is summed in the order in which weights are made
        self.word = self.weight("word", (vocab_size, words), lookup=True)
        self.word_map = self.weight("word_map", (words, self.hidden)) if widened == "words" else None
        positions.create(self.weight, self.width)
        if self.segments:
            self.segment = self.weight("segment", (self.segments, self.width))
        self.further = {
            name: (self.weight(name, (rows, self.width)), row)
            for name, (rows, row) in (further or {}).items()
        }
        if not bare:
            self.scale = self.weight("norm/scale", (self.width,), "ones")
            self.offset = self.weight("norm/offset", (self.width,), "zeros")
        if self.hidden != self.width:
            self.map_kernel = self.weight("map/kernel", (self.width, self.hidden))
            self.map_bias = None if bare else self.weight("map/bias", (self.hidden,), "zeros")

    def call(
        self,
        tokens: Mapping[str, Any],
        *,
        position_ids: Any | None = None,
        key: Any | None = None,
        noise: Any | None = None,
    ) -> Any:
        """Return (rows * length, hidden) in the compute type; arguments as in ``Backbone``."""
        total = self._summed(tokens, position_ids)
        if noise is not None:
            total = total + ops.reshape(noise, (-1, self.width))
        shape = (ops.shape(total)[0], self.width)
        drop = dropout.mask(key, "embeddings", shape, self.rate, self.compute_dtype)
        if self.bare:
            total = ops.cast(dropout.apply(self.cast(total), drop), "float32")
            normed = self.cast(root_mean_norm(total, self.epsilon))
        else:
            scale, offset = ops.convert_to_tensor(self.scale), ops.convert_to_tensor(self.offset)
            normed = dropout.apply(self.cast(layer_norm(total, scale, offset, self.epsilon)), drop)
        if self.hidden == self.width:
            return normed
        bias = None if self.map_bias is None else self.cast(self.map_bias)
        return dense(normed, self.cast(self.map_kernel), bias)

    def _summed(self, tokens: Mapping[str, Any], position_ids: Any | None) -> Any:
        """Return the float32 sum of all vectors, (rows * length, width)."""
        token_ids = tokens["token_ids"]
        words = word_vectors(tokens, self.word)
        if self.word_map is not None:
            words = ops.cast(ops.matmul(self.cast(words), self.cast(self.word_map)), "float32")
        positions = self.positions.embedded(ops.shape(token_ids)[1], position_ids)
        total = ops.reshape(words if positions is None else words + positions, (-1, self.width))
        if self.segments:
            # a product with 0/1 rows: its gradient is a product too, not a scatter into two rows
            flat = ops.reshape(tokens["segment_ids"], (-1,))
            chosen = ops.one_hot(flat, self.segments, dtype="float32")
            total = total + ops.matmul(chosen, ops.convert_to_tensor(self.segment))
        for table, row in self.further.values():
            total = total + ops.convert_to_tensor(table)[row]
        return total
