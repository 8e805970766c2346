"""Generates a target after its source, in one sequence: UniLM's mask in training, beam search to answer.

In: a backbone and a batch whose rows are sources, with or without a target behind them.
Out: the loss of the target's tokens, or the best sequences. Knows nothing about text.

Source tokens see the whole source, target tokens the source and what precedes them. The last source
token predicts the first of the target. Answers read the source alone, whatever follows it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from keras import ops

from clue_runner.models import dropout
from clue_runner.models.decoding.beam import Beam
from clue_runner.models.decoding.network import cache_of, empty_cache, rows_of, tensors_of
from clue_runner.models.embeddings import WORDS
from clue_runner.models.heads.base import NOISE, Head, encoded
from clue_runner.models.heads.word_scores import WordScores
from clue_runner.models.kernels import NEGATIVE
from clue_runner.models.masks import prefix_mask


@dataclass(frozen=True)
class Writing:
    """How an answer is searched.

    Args:
        beam: width, length, end and the rest.
        forbidden: tokens that are never written.
        segment: of what is written.
    """

    beam: Beam
    forbidden: Sequence[int]
    segment: int


class WritingHead(Head):
    """The token scores of what follows a source.

    Args:
        backbone: a ``Backbone``.
        longest: tokens of a target, its end counted.
        writing: how answers are searched; None: a network that is only trained.
        transform: as in ``WordScores``.
        dropout_rate: on the vectors that words are scored from.
        seed: source of the initial weights.
    """

    writes = True

    def __init__(
        self,
        backbone: Any,
        *,
        longest: int,
        writing: Writing | None,
        transform: bool = True,
        dropout_rate: float = 0.1,
        seed: int = 0,
    ) -> None:
        super().__init__("head", seed, backbone.dtype_policy.name)
        self.backbone, self.longest, self.writing, self.rate = backbone, longest, writing, dropout_rate
        self.scores = WordScores(backbone, transform=transform, seed=seed)

    def loss(self, batch: Mapping[str, Any], key: Any | None = None) -> tuple[Any, Any]:
        """Return (sum of the target tokens' cross-entropies, number of them), rows weighted."""
        return self.loss_of(self.outputs(batch, key), batch)

    def outputs(self, batch: Mapping[str, Any], key: Any | None) -> Any:
        """Return (rows, longest, width of an embedding): what the token embeddings score at each place.

        Place 0 is the last source token. The compute type.
        """
        flat = ops.reshape(self.vectors(batch, key), (-1, self.backbone.width))
        shape = (ops.shape(flat)[0], self.backbone.width)
        flat = dropout.apply(flat, dropout.mask(key, "head", shape, self.rate, self.compute_dtype))
        return ops.reshape(self.scores.mapped(flat), (-1, self.longest, self.scores.word.shape[1]))

    def logits(self, outputs: Any) -> Any:
        """Return (rows * longest, vocabulary) float32 scores of outputs."""
        return self.scores.scored(ops.reshape(outputs, (-1, self.scores.word.shape[1])))

    def loss_of(self, outputs: Any, batch: Mapping[str, Any]) -> tuple[Any, Any]:
        """Return the loss of outputs, as ``loss`` does."""
        labels, inside = self.labels(batch)
        logits = self.logits(outputs)
        chosen = ops.take_along_axis(logits, ops.reshape(labels, (-1, 1)), axis=1)[:, 0]
        losses = ops.reshape(ops.logsumexp(logits, axis=-1) - chosen, ops.shape(labels))
        weights = ops.cast(inside, "float32") * ops.expand_dims(batch["weight"], 1)
        return ops.sum(losses * weights), ops.sum(weights)

    def fed(self, batch: Mapping[str, Any], words: Any) -> dict[str, Any]:
        """Return the batch whose target is read as the word vectors that are given, one place later.

        The source stays as it is, and ``NOISE`` moves it alone: what is fed is no embedded token.

        Args:
            batch: as in ``loss``.
            words: (rows, longest, width of a word's vector), for each place of ``outputs``.
        """
        behind = ops.arange(ops.shape(batch["token_ids"])[1], dtype="int32")[None, :]
        behind = behind - ops.expand_dims(batch["source"], 1)  # 0 at the first of the target
        places = ops.clip(behind, 0, self.longest - 1)[:, :, None]
        shifted = ops.take_along_axis(ops.cast(words, "float32"), places, axis=1)
        own = ops.take(self.scores.word.value, batch["token_ids"], axis=0)
        in_target = ops.expand_dims(behind >= 0, -1)
        fed = {**batch, WORDS: ops.where(in_target, shifted, own)}
        if NOISE in batch:
            fed[NOISE] = ops.where(in_target, np.float32(0), batch[NOISE])
        return fed

    def vectors(self, batch: Mapping[str, Any], key: Any | None) -> Any:
        """Return (rows, longest, width): of each row the tokens that predict its target."""
        length = ops.shape(batch["token_ids"])[1]
        mask = prefix_mask(batch["lengths"], batch["source"], length)
        sequence, _ = encoded(self.backbone, batch, key, mask=mask)
        return ops.take_along_axis(sequence, self._places(batch, 0)[:, :, None], axis=1)

    def labels(self, batch: Mapping[str, Any]) -> tuple[Any, Any]:
        """Return the target's tokens (rows, longest) int32, and which of them are there."""
        steps = ops.arange(self.longest, dtype="int32")[None, :]
        inside = ops.expand_dims(batch["source"], 1) + steps < ops.expand_dims(batch["lengths"], 1)
        return ops.take_along_axis(batch["token_ids"], self._places(batch, 1), axis=1), inside

    def _places(self, batch: Mapping[str, Any], ahead: int) -> Any:
        """Return (rows, longest) places from the last source token on, or from ``ahead`` behind it."""
        first = ops.maximum(ops.expand_dims(batch["source"], 1) - 1, 0) + ahead  # 0 in padding rows
        last = ops.shape(batch["token_ids"])[1] - 1
        return ops.minimum(first + ops.arange(self.longest, dtype="int32")[None, :], last)

    def answer(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """Return ``tokens`` (rows, beams, longest) int32, best first, and ``scores`` (rows, beams)."""
        if self.writing is None:
            raise ValueError("a network with a foreign vocabulary cannot generate text")
        writing, inside = self.writing, self.backbone.embeddings.positions.in_attention
        width, table = writing.beam.width, _Table(batch, writing)
        cache = empty_cache(self.backbone, table.rows, table.length)
        ids = table.ids() if inside else None
        cache = cache_of(tensors_of(cache), cache[0].filled, ids)
        found = self.backbone(batch, mask=table.source(), cache=cache)
        ends = ops.maximum(batch["source"] - 1, 0)[:, None, None]
        last = ops.take_along_axis(found.sequence, ends, axis=1)
        forbidden = np.zeros(self.scores.word.shape[0], np.float32)
        forbidden[list(writing.forbidden)] = NEGATIVE
        wide = table.repeated(width)
        wide_ids = wide.ids() if inside else None

        def step(tokens: Any, index: Any, state: tuple[Any, ...]) -> tuple[Any, tuple[Any, ...]]:
            column = tokens[:, None]
            longer = self.backbone(
                {"token_ids": column, "segment_ids": ops.zeros_like(column) + writing.segment},
                mask=wide.seen(index),
                positions=wide.positions(index),
                cache=cache_of(state, wide.padded + index, wide_ids),
            )
            return self.scores(longer.sequence[:, 0]) + forbidden, tensors_of(longer.cache)

        state = tuple(ops.repeat(tensor, width, axis=0) for tensor in tensors_of(found.cache))
        first = self.scores(last[:, 0]) + forbidden
        tokens, scores = writing.beam.search(first, state, step, rows_of)
        return {"tokens": tokens, "scores": scores}


class _Table:
    """Where the tokens of a batch are in the cache: padded sources, then what is written."""

    def __init__(self, batch: Mapping[str, Any], writing: Writing) -> None:
        self.rows, self.padded = ops.shape(batch["token_ids"])[0], ops.shape(batch["token_ids"])[1]
        self.length = self.padded + writing.beam.length
        self.sources = batch["source"]

    def repeated(self, width: int) -> _Table:
        """Return the table of ``width`` beams a row."""
        other = object.__new__(_Table)
        other.rows, other.padded, other.length = self.rows * width, self.padded, self.length
        other.sources = ops.repeat(self.sources, width, axis=0)
        return other

    def source(self) -> Any:
        """Return (rows, table) bool: the tokens of the sources."""
        return ops.arange(self.length, dtype="int32")[None, :] < ops.expand_dims(self.sources, 1)

    def seen(self, index: Any) -> Any:
        """Return (rows, table) bool: what the written token ``index`` sees."""
        places = ops.arange(self.length, dtype="int32")[None, :]
        return self.source() | ((places >= self.padded) & (places <= self.padded + index))

    def positions(self, index: Any) -> Any:
        """Return (rows, 1) int32: where the written token ``index`` is in its stream."""
        return ops.expand_dims(self.sources, 1) + ops.cast(index, "int32")

    def ids(self) -> Any:
        """Return (rows, table) int32: where the token at each place of the cache is in its stream."""
        places = ops.arange(self.length, dtype="int32")[None, :]
        written = ops.expand_dims(self.sources, 1) + places - self.padded
        return ops.where(places < self.padded, places, written)
