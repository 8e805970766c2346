"""The DGCNN reader: finds the start and end of an answer in a passage; no pre-trained weights.

In: character ids (0 is padding) and word ids of questions and passages. Out: three logits: is there
an answer, does it start here, does it end here. Knows nothing about text, votes or training.

characters + words -> gated dilated convolutions -> question vector by attention, joined to every character of
the passage -> more convolutions -> question joined again -> gate and two taggers.
Source: kexue.fm/archives/5409, 6671 and 6906, reimplemented from their formulas.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from keras import ops
from numpy.typing import NDArray

from clue_runner.architectures.dgcnn.focal import focal_loss, gated_probability
from clue_runner.architectures.dgcnn.gated import gated_block, shifted, weighted_sum
from clue_runner.architectures.dgcnn.shape import KERNEL, PASSAGE_RATES, QUESTION_RATES
from clue_runner.models import dropout
from clue_runner.models.heads.base import Head
from clue_runner.models.part import POLICIES, Part
from clue_runner.models.recompute import run_steps

LOSS_SCALE = 100.0


class Focal(NamedTuple):
    """How the loss weights positions: ``train.focal_alpha`` and ``train.focal_gamma``."""

    alpha: float = 0.25
    gamma: float = 2.0


FOCAL = Focal()


def build(
    shape: Any,
    vocab_size: int,
    *,
    precision: str,
    seed: int,
    pooler: bool = False,
    vectors: NDArray[np.float32] | None = None,
    focal: tuple[float, float] = FOCAL,
) -> ReadingHead:
    """Return the complete network, which has no pooler.

    Args:
        shape: as in ``Architecture.build``.
        vocab_size: rows of the character table, including padding and unknown.
        precision: ``float32`` or ``bfloat16``.
        seed: source of the initial weights.
        pooler: ignored here.
        vectors: (words + 1, size) float32 frozen word vectors, row 0 for unknown words; None: characters
            alone.
        focal: alpha and gamma of the loss.
    """
    return ReadingHead(
        shape, vocab_size, vectors, focal=Focal(*focal), dtype_policy=POLICIES[precision], seed=seed
    )


class HybridEmbedding(Part):
    """A character's own vector plus a linear map of its word's frozen vector.

    Args:
        vectors: (words + 1, size) float32, row 0 zeros for unknown words; None: characters alone.
    """

    def __init__(
        self,
        prefix: str,
        seed: int,
        dtype_policy: str,
        *,
        vocab_size: int,
        width: int,
        vectors: NDArray[np.float32] | None,
    ) -> None:
        super().__init__(prefix, seed, dtype_policy)
        self.character = self.weight("character", (vocab_size, width), "uniform", lookup=True)
        self.vectors = None if vectors is None else ops.convert_to_tensor(vectors)
        if vectors is not None:
            self.word_kernel = self.weight("word/kernel", (vectors.shape[1], width), "glorot")

    def call(self, character_ids: Any, word_ids: Any | None) -> Any:
        """Return (rows, length, width) in the compute type."""
        found = self.cast(ops.take(self.character, character_ids, axis=0))
        if self.vectors is None or word_ids is None:
            return found
        words = self.cast(ops.take(self.vectors, word_ids, axis=0))
        return found + ops.matmul(words, self.cast(self.word_kernel))


class GatedConvolution(Part):
    """One gated dilated block: ``x + g (c - x)``, c and z from a convolution of width 3, g = sigmoid(z)."""

    def __init__(
        self, prefix: str, seed: int, dtype_policy: str, *, width: int, dilation: int, rate: float
    ) -> None:
        super().__init__(prefix, seed, dtype_policy)
        self.width, self.dilation, self.rate = width, dilation, rate
        self.kernel = self.weight("kernel", (KERNEL, width, 2 * width), "glorot")
        self.bias = self.weight("bias", (2 * width,), "zeros")

    def call(self, inputs: Any, mask: Any, dropout_key: Any | None = None) -> Any:
        """Return (rows, length, width), 0 after each row's end; ``inputs`` must be 0 there too.

        Args:
            inputs: (rows, length, width).
            mask: (rows, length, 1) of 0 and 1 in the compute type.
            dropout_key: (2,) int32; None: inference.
        """
        shape = (ops.shape(inputs)[0], ops.shape(inputs)[1], self.width)
        drop = dropout.mask(dropout_key, self.prefix, shape, self.rate, self.compute_dtype)
        kernel = ops.reshape(self._scaled(self.kernel, drop), (KERNEL * self.width, 2 * self.width))
        both = ops.matmul(shifted(inputs, self.dilation), kernel) + self._scaled(self.bias, drop)
        return gated_block(inputs, both, mask, drop)

    def _scaled(self, weight: Any, drop: dropout.Mask | None) -> Any:
        """Return a weight with the dropout factor on the gates' half: cheaper than on every character."""
        if drop is None:
            return self.cast(weight)
        factors = np.repeat(np.array([1.0, drop.factor], np.float32), self.width)
        return self.cast(ops.convert_to_tensor(weight) * factors)


class AttentionPooling(Part):
    """Weights of a softmax over ``a . tanh(W x)``; the caller computes the weighted sum."""

    def __init__(self, prefix: str, seed: int, dtype_policy: str, *, width: int) -> None:
        super().__init__(prefix, seed, dtype_policy)
        self.inner = self.weight("inner/kernel", (width, width), "glorot")
        self.outer = self.weight("outer/kernel", (width, 1), "glorot")

    def call(self, sequence: Any, vector: Any | None, mask: Any) -> Any:
        """Return (rows, length) weights of the characters.

        Args:
            sequence: (rows, length, n).
            vector: (rows, width - n), joined to every character; None where n is the width.
            mask: (rows, length, 1).
        """
        inner = self.cast(self.inner)
        size = sequence.shape[-1]
        mapped = ops.matmul(sequence, inner[:size])
        if vector is not None:
            mapped = mapped + ops.expand_dims(ops.matmul(vector, inner[size:]), 1)
        scores = ops.cast(ops.matmul(ops.tanh(mapped), self.cast(self.outer)), "float32")[..., 0]
        return ops.softmax(scores - (1.0 - ops.cast(mask[..., 0], "float32")) * 1e12, axis=-1)


class ReadingHead(Head):
    """The complete network: adapters call anything that trains a "head".

    Args:
        shape: sizes and rates, and what the backward pass recomputes: ``none``, convolutions (``block``;
            ``sublayer`` is the same here) or ``segment:k``.
        vocab_size: rows of the character table.
        vectors: frozen word vectors, row 0 for unknown words; None: characters alone.
        focal: of the loss.
        dtype_policy: ``float32`` or ``mixed_bfloat16``.
        seed: source of the initial weights.
    """

    def __init__(
        self,
        shape: Any,
        vocab_size: int,
        vectors: NDArray[np.float32] | None = None,
        *,
        focal: Focal = FOCAL,
        dtype_policy: str,
        seed: int,
    ) -> None:
        super().__init__("head", seed, dtype_policy)
        self.shape, self.focal = shape, focal
        shared, width = (seed, dtype_policy), shape.hidden_dim
        self.width = width
        self.embedding = HybridEmbedding(
            "reader/embeddings", *shared, vocab_size=vocab_size, width=width, vectors=vectors
        )
        self.question_blocks = self._blocks("question", QUESTION_RATES)
        self.passage_blocks = self._blocks("passage", PASSAGE_RATES)
        self.question_pool = AttentionPooling("reader/question/pool", *shared, width=width)
        self.passage_pool = AttentionPooling("reader/passage/pool", *shared, width=2 * width)
        self.fuse = self.weight("fuse/kernel", (2 * width, width), "glorot")
        self.taggers = {
            name: (
                self.weight(f"{name}/kernel", (2 * width, 1), "glorot"),
                self.weight(f"{name}/bias", (1,), "zeros"),
            )
            for name in ("gate", "start", "end")
        }

    def _blocks(self, name: str, rates: tuple[int, ...]) -> list[GatedConvolution]:
        """Return the convolutions of one side."""
        return [
            GatedConvolution(
                f"reader/{name}/block_{place}",
                self.seed,
                self.dtype_policy.name,
                width=self.width,
                dilation=dilation,
                rate=self.shape.head_dropout,
            )
            for place, dilation in enumerate(rates)
        ]

    def answer(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """Return the result of ``logits``, without dropout."""
        return self.logits(batch, None)

    def logits(self, batch: Mapping[str, Any], dropout_key: Any | None) -> dict[str, Any]:
        """Return the logits ``gate`` (rows,), ``start`` and ``end`` (rows, length), float32.

        The probability that an answer starts at a character is ``sigmoid(gate) * sigmoid(start)``; after a
        row's end it is meaningless.
        """
        question = self._question(batch, dropout_key)
        passage, mask = self._embed(batch["token_ids"], batch.get("word_ids"), "passage", dropout_key)
        fuse, width = self.cast(self.fuse), self.width
        joined = ops.matmul(passage, fuse[:width]) + ops.expand_dims(ops.matmul(question, fuse[width:]), 1)
        passage = joined * mask
        passage = self._convolve(self.passage_blocks, passage, mask, dropout_key)
        weights = self.passage_pool(passage, question, mask)
        pooled = ops.concatenate([weighted_sum(weights, passage), ops.cast(question, "float32")], axis=-1)
        gate_kernel, gate_bias = self.taggers["gate"]
        gate = ops.matmul(pooled, ops.convert_to_tensor(gate_kernel)) + ops.convert_to_tensor(gate_bias)
        return {
            "gate": gate[:, 0],
            "start": self._tags("start", passage, question),
            "end": self._tags("end", passage, question),
        }

    def _embed(self, ids: Any, word_ids: Any | None, side: str, dropout_key: Any | None) -> tuple[Any, Any]:
        """Return (characters, mask): (rows, length, width) with 0 after the end, and (rows, length, 1)."""
        mask = ops.expand_dims(self.cast(ops.not_equal(ids, 0)), -1)
        found = self.embedding(ids, word_ids)
        shape = (ops.shape(ids)[0], ops.shape(ids)[1], self.width)
        drop = dropout.mask(dropout_key, f"{side}/embeddings", shape, self.shape.dropout, self.compute_dtype)
        return dropout.apply(found, drop) * mask, mask

    def _convolve(
        self, blocks: list[GatedConvolution], found: Any, mask: Any, dropout_key: Any | None
    ) -> Any:
        """Return the characters after one side's convolutions, recomputed in training as the shape says."""
        recompute = "none" if dropout_key is None else self.shape.recompute
        return run_steps(
            blocks, found, mask, dropout_key, recompute=recompute, policy=self.shape.recompute_policy
        )

    def _question(self, batch: Mapping[str, Any], dropout_key: Any | None) -> Any:
        """Return (rows, width), the question vectors."""
        found, mask = self._embed(batch["question_ids"], batch.get("question_words"), "question", dropout_key)
        found = self._convolve(self.question_blocks, found, mask, dropout_key)
        return self.cast(weighted_sum(self.question_pool(found, None, mask), found))

    def _tags(self, name: str, passage: Any, question: Any) -> Any:
        """Return (rows, length) float32 logits of one tagger over characters joined with the question."""
        kernel, bias = (ops.convert_to_tensor(one) for one in self.taggers[name])
        width = self.width
        own = ops.cast(ops.matmul(passage, self.cast(kernel[:width])), "float32")[..., 0]
        return own + ops.matmul(ops.cast(question, "float32"), kernel[width:]) + bias

    def loss(self, batch: Mapping[str, Any], key: Any | None = None) -> tuple[Any, Any]:
        """Return (100 times the focal loss of both taggers, real positions), float32 scalars."""
        outputs = self.logits(batch, key)
        real = ops.cast(ops.not_equal(batch["token_ids"], 0), "float32") * ops.expand_dims(batch["weight"], 1)
        total = ops.zeros((), dtype="float32")
        for name in ("start", "end"):
            probability, rest = gated_probability(outputs["gate"], outputs[name])
            label = ops.cast(batch[f"{name}_tags"], "float32")
            losses = focal_loss(label, probability, rest, alpha=self.focal.alpha, gamma=self.focal.gamma)
            total = total + ops.sum(losses * real)
        return total * LOSS_SCALE, ops.sum(real)
