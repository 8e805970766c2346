"""The encoder: embedded tokens, then the blocks, then the optional pooler.

In: a mapping of token ids, segment ids and lengths, and what the tokens may see of each other.
Out: one vector per token and one per row. Knows nothing about text, tasks or training; which parts
an encoder has is decided by its family.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import keras
from keras import ops

from clue_runner.models.attention import KeyValues, View
from clue_runner.models.embeddings import Embeddings
from clue_runner.models.kernels import bias_of, dense
from clue_runner.models.part import Part
from clue_runner.models.shape import EncoderShape
from clue_runner.models.transformer import Block, run_blocks, run_cached


class Encoded(NamedTuple):
    """The outputs of a backbone.

    Attributes:
        sequence: (rows, length, width) in the compute type; (rows, 1, width) with ``first_only``.
        pooled: (rows, width), or None without a pooler.
        cache: one ``KeyValues`` per layer with the new tokens in it, or None if none was given.
    """

    sequence: Any
    pooled: Any | None
    cache: tuple[KeyValues, ...] | None = None


class Backbone(Part):
    """An encoder made of embeddings, blocks and a pooler.

    Args:
        seed: source of the initial weights.
        dtype_policy: ``float32`` or ``mixed_bfloat16``.
        shape: sizes, and what the backward pass recomputes.
        embeddings: ``Embeddings``, or a layer called in the same way.
        blocks: in order; one block may appear in several places.
        pooler: whether there is dense + tanh on the first token; without it ``pooled`` is None.

    Attributes:
        width: width of the output vectors.
        embedding_width: width of the vectors that ``noise`` is added to.
        max_positions: the longest row.
        has_pooler: whether there is ``pooled``.
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
        self.width, self.embedding_width = shape.hidden_dim, embeddings.width
        self.max_positions, self.options = shape.position_limit, shape
        self.supports_masking = True  # otherwise Keras warns that the mask is not passed on
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
            tokens: ``token_ids`` and ``segment_ids``, (rows, length) int32; ``embeddings.WORDS`` where it is
                there; other entries are not read.
            mask: which keys a query sees: (rows, keys) bool as ``kernels.padding_mask`` makes it; or (rows, 1
                or heads, queries, keys), bool or float32 scores to add, whose gradient flows. An axis of 1
                must be known to be 1 when the graph is made.
            key: (2,) int32 dropout key of this micro-batch; None: inference.
            positions: (rows, length) int32; None: 0, 1, 2, ..., or what follows those in the cache.
            first_only: the caller reads only the first token; the last block then computes that one
                (the same values, a fifth less work at four blocks) and the sequence is (rows, 1, width).
            noise: (rows, length, embedding width) float32 added to the sum of embeddings, before its norm.
            cache: one ``KeyValues`` per layer; tokens attend to its table, and ``mask`` covers that.
                For inference only.
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
            raise ValueError("a cache works only for inference over all tokens")
        sequence = ops.reshape(found, (rows, 1 if first_only else length, self.width))
        pooled = self._pooled(sequence[:, 0]) if self.has_pooler else None
        return Encoded(sequence, pooled, None if cache is None else tuple(cache))

    def compute_mask(self, inputs: Any, previous_mask: Any) -> None:
        """Attach no mask to the outputs."""

    def _view(self, mask: Any, rows: Any, length: Any, position_ids: Any | None) -> View:
        """Return the attention's view of the batch."""
        ids = None
        if self.embeddings.positions.in_attention:
            ids = ops.arange(length, dtype="int32")[None] if position_ids is None else position_ids
        if keras.backend.standardize_dtype(mask.dtype) == "bool":
            return View(rows, length, bias_of(mask), None, ids)
        return View(rows, length, None, mask, ids)

    def _pooled(self, first: Any) -> Any:
        """Return dense + tanh on the first token."""
        return ops.tanh(dense(first, self.cast(self.pooler_kernel), self.cast(self.pooler_bias)))
