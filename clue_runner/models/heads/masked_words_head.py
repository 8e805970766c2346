"""Masked language modelling: predicts the original tokens at the masked places.

In: a backbone and a batch whose rows say which places are masked and what stood there. Out: the loss, or for
each row how many were guessed. Scores over the vocabulary are computed at the masked places alone.
Knows nothing about how masks are drawn.

Where masked tokens are dropped (MAE, arXiv 2111.06377; kexue.fm/archives/8770), the backbone reads the other
tokens at their own positions. One further block then sees their vectors and, for each masked place, a learned
one; both with sines and cosines of their positions added.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from keras import ops

from clue_runner.models import dropout
from clue_runner.models.attention import View
from clue_runner.models.fixed_positions import sinusoids
from clue_runner.models.heads.base import Head, encoded
from clue_runner.models.heads.word_scores import WordScores
from clue_runner.models.kernels import bias_of, padding_mask
from clue_runner.models.part import Part
from clue_runner.models.transformer import Block, run_blocks

PLACES, TARGETS = "places", "targets"  # batch entries: (rows, masked) int32, a target of -1 is not asked


class MaskedWordsHead(Head):
    """Word scores at the masked places.

    Args:
        backbone: a ``Backbone``.
        dropped: rows lack their masked tokens; a decoder block reads what is asked.
        longest: tokens of a row at most, dropped ones counted.
        seed: source of the initial weights.
    """

    def __init__(self, backbone: Any, *, dropped: bool, longest: int, seed: int = 0) -> None:
        super().__init__("head", seed, backbone.dtype_policy.name)
        self.backbone = backbone
        self.scores = WordScores(backbone, transform=True, seed=seed)
        self.decoder = Decoder(backbone, longest, seed) if dropped else None

    def loss(self, batch: Mapping[str, Any], key: Any | None = None) -> tuple[Any, Any]:
        """Return (sum of the masked tokens' cross-entropies, number of them), rows weighted."""
        losses, weights, _ = self._asked(batch, key)
        weights = weights * ops.expand_dims(batch["weight"], 1)
        return ops.sum(losses * weights), ops.sum(weights)

    def answer(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """Return (rows,) ``losses`` float32, ``right`` and ``asked`` int32, each summed over a row."""
        losses, weights, logits = self._asked(batch, None)
        best = ops.reshape(ops.argmax(logits, axis=-1), ops.shape(losses))
        right = ops.cast(ops.equal(ops.cast(best, "int32"), batch[TARGETS]), "int32")
        return {
            "losses": ops.sum(losses * weights, axis=1),
            "right": ops.sum(right, axis=1),
            "asked": ops.sum(ops.cast(weights, "int32"), axis=1),
        }

    def _asked(self, batch: Mapping[str, Any], key: Any | None) -> tuple[Any, Any, Any]:
        """Return (rows, masked) losses, weights of 0 or 1, and (rows * masked, vocabulary) logits."""
        sequence, _ = encoded(self.backbone, batch, key)
        if self.decoder is None:
            vectors = _at(sequence, batch[PLACES])
        else:
            vectors = ops.reshape(self.decoder(sequence, batch, key), (-1, self.backbone.width))
        logits = self.scores(vectors)
        targets = batch[TARGETS]
        labels = ops.reshape(ops.maximum(targets, 0), (-1, 1))
        chosen = _at(ops.expand_dims(logits, -1), labels)[:, 0]
        losses = ops.reshape(ops.logsumexp(logits, axis=-1) - chosen, ops.shape(targets))
        return losses, ops.cast(targets >= 0, "float32"), logits


def _at(values: Any, places: Any) -> Any:
    """Return (rows * places, width): the vectors of (rows, length, width) at (rows, places) int32.

    Whole vectors are read, so that the gradient adds whole vectors too.
    """
    rows, length, width = ops.shape(values)[0], ops.shape(values)[1], values.shape[2]
    first = ops.arange(rows, dtype="int32")[:, None] * length
    return ops.take(ops.reshape(values, (-1, width)), ops.reshape(first + places, (-1,)), axis=0)


class Decoder(Part):
    """One block over the vectors of the tokens that stayed and a learned one for each masked place."""

    def __init__(self, backbone: Any, longest: int, seed: int) -> None:
        policy = backbone.dtype_policy.name
        super().__init__("head/decoder", seed, policy)
        self.width, self.options = backbone.width, backbone.options
        self.table = sinusoids(longest, self.width).astype(np.float32)
        self.masked = self.weight("masked", (self.width,))
        self.block = Block("head/decoder/block", seed, policy, shape=self.options)

    def call(self, sequence: Any, batch: Mapping[str, Any], key: Any | None) -> Any:
        """Return (rows, masked, width): the vectors of the masked places."""
        rows, stayed = ops.shape(sequence)[0], ops.shape(sequence)[1]
        asked = ops.shape(batch[PLACES])[1]
        table = ops.convert_to_tensor(self.table)
        known = ops.cast(sequence, "float32") + ops.take(table, batch["position_ids"], axis=0)
        unknown = ops.convert_to_tensor(self.masked) + ops.take(table, batch[PLACES], axis=0)
        tokens = self.cast(ops.reshape(ops.concatenate([known, unknown], axis=1), (-1, self.width)))
        seen = [padding_mask(batch["lengths"], stayed), batch[TARGETS] >= 0]
        view = View(rows, stayed + asked, bias_of(ops.concatenate(seen, axis=1)), None, None)
        # with the key as it is, it would drop what the backbone's first block drops
        own = None if key is None else dropout.fold(key, "decoder")
        found = run_blocks([self.block], tokens, view, own, first_only=False, options=self.options)
        return ops.reshape(found, (rows, stayed + asked, self.width))[:, stayed:]
