"""Scores for every span of a text: GlobalPointer and its efficient form, and their loss.

In: one vector per token, and which tokens a span may begin or end on. Out: (rows, types, first, last)
scores; spans that overlap or nest do not compete. Knows nothing about entities, answers or characters.

Sources: GlobalPointer (kexue.fm/archives/8373), Efficient GlobalPointer (kexue.fm/archives/8877),
multi-label loss (kexue.fm/archives/7359).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from keras import ops

from clue_runner.models.kernels import NEGATIVE, dense
from clue_runner.models.part import Part

ROTARY_BASE = 10000.0


class SpanScorer(Part):
    """One score for each type and each pair of first and last token.

    Args:
        prefix: stable name of the layer.
        seed: source of the initial weights.
        dtype_policy: of the projections; the scores themselves are float32 in every precision.
        width: of the token vectors.
        types: kinds of spans, each with a matrix of scores of its own.
        head_size: of the vectors whose products are the scores; even.
        efficient: all types share one product, and add a score for the first and one for the last token.
        use_bias: whether the projections have one.
        rotary: rotate the vectors by their positions, so that a score depends on the distance too.
    """

    def __init__(
        self,
        prefix: str,
        seed: int,
        dtype_policy: str,
        *,
        width: int,
        types: int,
        head_size: int = 64,
        efficient: bool = False,
        use_bias: bool = False,
        rotary: bool = True,
    ) -> None:
        super().__init__(prefix, seed, dtype_policy)
        if head_size % 2:
            raise ValueError(f"head_size must be even, got {head_size}")
        self.types, self.head_size, self.efficient, self.rotary = types, head_size, efficient, rotary
        products = 2 * head_size * (1 if efficient else types)
        self.kernel = self.weight("pointer/kernel", (width, products))
        self.bias = self.weight("pointer/bias", (products,), "zeros") if use_bias else None
        if efficient:
            self.type_kernel = self.weight("type/kernel", (products, 2 * types))
            self.type_bias = self.weight("type/bias", (2 * types,), "zeros") if use_bias else None

    def call(self, sequence: Any, allowed: Any) -> Any:
        """Return (rows, types, length, length) float32: first token, then last.

        Args:
            sequence: (rows, length, width) in the compute type.
            allowed: (rows, length) bool, the tokens that a span may begin or end on.

        A span that ends before it begins, or touches a token that is not allowed, has ``NEGATIVE``.
        """
        rows, length = ops.shape(sequence)[0], ops.shape(sequence)[1]
        flat = ops.reshape(sequence, (-1, sequence.shape[-1]))
        pointers = ops.cast(self._dense(flat, self.kernel, self.bias), "float32")
        if self.efficient:
            scores = self._shared_scores(pointers, rows, length)
        else:
            scores = self._own_scores(pointers, rows, length)
        return ops.where(spans_allowed(allowed), scores, np.float32(NEGATIVE))

    def _own_scores(self, pointers: Any, rows: Any, length: Any) -> Any:
        """Return the scores where each type has its vectors: type after type, first half begins."""
        shaped = ops.reshape(pointers, (rows, length, self.types, 2 * self.head_size))
        shaped = ops.transpose(shaped, (0, 2, 1, 3))
        return self._products(shaped[..., : self.head_size], shaped[..., self.head_size :], length)

    def _shared_scores(self, pointers: Any, rows: Any, length: Any) -> Any:
        """Return the scores where all types share the vectors: even columns begin, odd ones end."""
        # float32: a type's score of a token is a sum of few terms, and all pairs share its rounding
        own = ops.matmul(pointers, ops.convert_to_tensor(self.type_kernel))
        if self.type_bias is not None:
            own = own + ops.convert_to_tensor(self.type_bias)
        own = ops.transpose(ops.reshape(own, (rows, length, self.types, 2)), (0, 2, 1, 3)) / 2
        shaped = ops.reshape(pointers, (rows, 1, length, 2 * self.head_size))
        shared = self._products(shaped[..., ::2], shaped[..., 1::2], length)
        # bert4keras adds the even column along the last token and the odd one along the first
        return shared + own[:, :, None, :, 0] + own[:, :, :, None, 1]

    def _products(self, begin: Any, end: Any, length: Any) -> Any:
        """Return (rows, heads, length, length) products of (rows, heads, length, head size) vectors."""
        if self.rotary:
            cosine, sine = rotary_table(length, self.head_size)
            begin, end = rotate(begin, cosine, sine), rotate(end, cosine, sine)
        return ops.matmul(begin, ops.swapaxes(end, -1, -2)) / math.sqrt(self.head_size)

    def _dense(self, inputs: Any, kernel: Any, bias: Any | None) -> Any:
        """Return the projection in the compute type."""
        if bias is None:
            return ops.matmul(inputs, self.cast(kernel))
        return dense(inputs, self.cast(kernel), self.cast(bias))


def rotary_table(length: Any, size: int) -> tuple[Any, Any]:
    """Return cosines and sines, each (length, size / 2) float32, of position times frequency."""
    frequencies = np.power(ROTARY_BASE, -2 * np.arange(size // 2) / size).astype(np.float32)
    angles = ops.cast(ops.arange(length), "float32")[:, None] * frequencies[None, :]
    return ops.cos(angles), ops.sin(angles)


def rotate(values: Any, cosine: Any, sine: Any) -> Any:
    """Return (..., length, size) with each pair of neighbouring columns rotated by its angle.

    The rotated pairs come as all first halves, then all second halves: the product of two vectors
    that were both rotated is the same in any order of columns.
    """
    even, odd = values[..., ::2], values[..., 1::2]
    return ops.concatenate([even * cosine - odd * sine, odd * cosine + even * sine], axis=-1)


def spans_allowed(allowed: Any) -> Any:
    """Return (rows, 1, length, length) bool: both ends allowed, the last not before the first."""
    positions = ops.arange(ops.shape(allowed)[1])
    ordered = positions[:, None] <= positions[None, :]
    both = ops.logical_and(allowed[:, :, None], allowed[:, None, :])
    return ops.logical_and(both, ordered[None])[:, None]


def multilabel_loss(scores: Any, spans: Any) -> Any:
    """Return (rows,) float32: how far the true spans are from all scoring above 0 and all others below.

    A type's loss is log(1 + sum of exp(s) over the others) + log(1 + sum of exp(-s) over the true ones); a
    row's is the mean over types. The true spans are few, so they come as a list: no array of labels is made.

    Args:
        scores: (rows, types, length, length) float32.
        spans: (rows, n, 3) int32 of type, first, last; type -1 is filler. The first cell of type 0, which
            filler points to, must not be allowed (it is [CLS]'s).
    """
    rows, length = ops.shape(scores)[0], ops.shape(scores)[2]
    types = scores.shape[1]
    kind = spans[..., 0]
    real = kind >= 0
    cell = (kind * length + spans[..., 1]) * length + spans[..., 2]
    first_of_row = ops.arange(rows)[:, None] * (types * length * length)
    places = ops.reshape(first_of_row + ops.where(real, cell, 0), (-1,))
    flat = ops.reshape(scores, (-1,))
    chosen = ops.reshape(ops.take(flat, places), ops.shape(kind))
    # one column a type: the negated scores of its true spans, and a zero for the 1 in the logarithm
    own = ops.logical_and(real[..., None], kind[..., None] == ops.arange(types))
    wanted = ops.where(own, -chosen[..., None], np.float32(NEGATIVE))
    missing = ops.logsumexp(ops.pad(wanted, ((0, 0), (0, 1), (0, 0))), axis=1)
    others = ops.scatter_update(flat, places[:, None], ops.full(ops.shape(places), NEGATIVE, dtype="float32"))
    strongest = ops.logsumexp(ops.reshape(others, (rows, types, length * length)), axis=-1)
    # log(1 + e^x) without overflow, and 0 where nothing else is allowed
    return ops.mean(ops.softplus(strongest) + missing, axis=1)
