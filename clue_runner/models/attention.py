"""Multi-head self-attention with one matrix product for query, key and value.

In: (rows * length, width) tokens and a padding bias. Out: the attended tokens, projected.
Knows nothing about residuals, norms or where dropout keys come from.
"""

from __future__ import annotations

import math
from typing import Any

from keras import ops

from clue_runner.config.attention import LONGEST_WHOLE
from clue_runner.models import dropout
from clue_runner.models.attention_forms import attend_chunked, attend_fused, attend_whole
from clue_runner.models.kernels import dense
from clue_runner.models.part import Part

PROBABILITIES = 0


class SelfAttention(Part):
    """Attention as in BERT; weights are stored apart (query, key, value) and joined in the step."""

    def __init__(
        self,
        prefix: str,
        seed: int,
        dtype_policy: str,
        *,
        layer: int,
        width: int,
        heads: int,
        rate: float,
        form: str = "auto",
    ) -> None:
        super().__init__(prefix, seed, dtype_policy)
        self.form = form
        self.layer, self.width, self.heads, self.rate = layer, width, heads, rate
        self.kernels = {}
        self.biases = {}
        for name in ("query", "key", "value", "output"):
            self.kernels[name] = self.weight(f"{name}/kernel", (width, width))
            self.biases[name] = self.weight(f"{name}/bias", (width,), "zeros")

    def call(self, tokens: Any, bias: Any, dropout_key: Any | None = None, first_only: bool = False) -> Any:
        """Return (rows * queries, width).

        Args:
            tokens: (rows * length, width).
            bias: (rows, 1, 1, length) float32 padding bias.
            dropout_key: (2,) int32, or None at inference.
            first_only: attend from the first token of each row alone (queries = 1).
        """
        rows, length = ops.shape(bias)[0], ops.shape(bias)[3]
        if first_only:
            first = ops.reshape(tokens, (rows, length, self.width))[:, 0]
            (query,) = self._heads(first, ("query",), rows, 1)
            key, value = self._heads(tokens, ("key", "value"), rows, length)
        else:
            query, key, value = self._heads(tokens, ("query", "key", "value"), rows, length)
        drop = dropout.site(dropout_key, self.layer, PROBABILITIES, self.rate)
        context = self._attend(query, key, value, bias, drop, first_only)
        context = ops.reshape(ops.transpose(context, (0, 2, 1, 3)), (-1, self.width))
        return dense(context, self.cast(self.kernels["output"]), self.cast(self.biases["output"]))

    def _attend(
        self, query: Any, key: Any, value: Any, bias: Any, drop: dropout.Site | None, first_only: bool
    ) -> Any:
        """Compute attention in the form that was asked for; one query needs no form."""
        length = ops.shape(bias)[3]
        long = self.form == "auto" and isinstance(length, int) and length > LONGEST_WHOLE
        if self.form == "fused" and drop is not None:
            raise ValueError("the fused kernel has no dropout by key: set model.attention_dropout to 0")
        if self.form == "fused" and not first_only:
            return attend_fused(query, key, value, bias)
        if (self.form == "chunked" or long) and not first_only:
            return attend_chunked(query, key, value, bias, drop)
        return attend_whole(query, key, value, bias, drop)

    def _heads(self, tokens: Any, names: tuple[str, ...], rows: Any, length: Any) -> list[Any]:
        """Project tokens by the named kernels at once; each result is (rows, heads, length, head width)."""
        size = self.width // self.heads
        kernel = ops.concatenate([self._scaled(self.kernels[name], name, size) for name in names], axis=1)
        bias = ops.concatenate([self._scaled(self.biases[name], name, size) for name in names], axis=0)
        joined = dense(tokens, self.cast(kernel), self.cast(bias))
        parts = ops.reshape(joined, (rows, length, len(names), self.heads, size))
        return list(ops.unstack(ops.transpose(parts, (2, 0, 3, 1, 4)), len(names), axis=0))

    def _scaled(self, weight: Any, name: str, size: int) -> Any:
        """Put the division by the root of the head width into the small query weights."""
        value = ops.convert_to_tensor(weight)
        return value * (1 / math.sqrt(size)) if name == "query" else value
