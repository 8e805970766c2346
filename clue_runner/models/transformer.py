"""One post-norm encoder block as in BERT: attention, then feed-forward, each with dropout, sum and norm.

In: (rows * length, width) tokens. Out: the same shape, or the first token of each row.
Knows nothing about embeddings, pooling or how many blocks there are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from keras import ops

from clue_runner.models import dropout
from clue_runner.models.attention import SelfAttention
from clue_runner.models.kernels import dense, gelu, residual_norm, trained_gelu
from clue_runner.models.part import Part

AFTER_ATTENTION = 1
AFTER_FEED_FORWARD = 2

ACTIVATIONS: dict[str, Callable[[Any], Any]] = {
    "gelu": gelu,
    "gelu_tanh": lambda inputs: ops.gelu(inputs, approximate=True),
    "relu": ops.relu,
}


class Norm(Part):
    """Scale and offset of a layer norm."""

    def __init__(self, prefix: str, seed: int, dtype_policy: str, *, width: int, epsilon: float) -> None:
        super().__init__(prefix, seed, dtype_policy)
        self.epsilon = epsilon
        self.scale = self.weight("scale", (width,), "ones")
        self.offset = self.weight("offset", (width,), "zeros")

    def after(self, inputs: Any, branch: Any, drop: dropout.Mask | None = None) -> Any:
        """Return the norm of ``inputs`` + dropout(``branch``)."""
        scale, offset = ops.convert_to_tensor(self.scale), ops.convert_to_tensor(self.offset)
        return residual_norm(inputs, branch, drop, scale, offset, self.epsilon)


class Block(Part):
    """Attention and feed-forward, each followed by dropout, the residual sum and a layer norm."""

    def __init__(
        self,
        prefix: str,
        seed: int,
        dtype_policy: str,
        *,
        layer: int,
        width: int,
        heads: int,
        inner: int,
        activation: str,
        epsilon: float,
        rate: float,
        attention_rate: float,
    ) -> None:
        super().__init__(prefix, seed, dtype_policy)
        shared = (seed, dtype_policy)
        self.layer, self.width, self.rate = layer, width, rate
        self.activation = ACTIVATIONS[activation]
        self.attention = SelfAttention(
            f"{prefix}/attention", *shared, layer=layer, width=width, heads=heads, rate=attention_rate
        )
        self.attention_norm = Norm(f"{prefix}/attention/norm", *shared, width=width, epsilon=epsilon)
        self.inner_kernel = self.weight("feed_forward/inner/kernel", (width, inner))
        self.inner_bias = self.weight("feed_forward/inner/bias", (inner,), "zeros")
        self.outer_kernel = self.weight("feed_forward/outer/kernel", (inner, width))
        self.outer_bias = self.weight("feed_forward/outer/bias", (width,), "zeros")
        self.output_norm = Norm(f"{prefix}/feed_forward/norm", *shared, width=width, epsilon=epsilon)

    def call(self, tokens: Any, bias: Any, dropout_key: Any | None = None, first_only: bool = False) -> Any:
        """Return (rows * length, width), or (rows, width) with ``first_only``; see ``SelfAttention``."""
        attended = self.attention(tokens, bias, dropout_key=dropout_key, first_only=first_only)
        if first_only:
            rows, length = ops.shape(bias)[0], ops.shape(bias)[3]
            tokens = ops.reshape(tokens, (rows, length, self.width))[:, 0]
        drop = self._mask(attended, AFTER_ATTENTION, dropout_key)
        tokens = self.attention_norm.after(tokens, attended, drop)
        activation = self.activation
        if activation is gelu and dropout_key is not None:
            activation = trained_gelu
        inner = activation(dense(tokens, self.cast(self.inner_kernel), self.cast(self.inner_bias)))
        outer = dense(inner, self.cast(self.outer_kernel), self.cast(self.outer_bias))
        return self.output_norm.after(tokens, outer, self._mask(outer, AFTER_FEED_FORWARD, dropout_key))

    def _mask(self, values: Any, site: int, dropout_key: Any | None) -> dropout.Mask | None:
        """Return the dropout mask of one site of this block."""
        shape = (ops.shape(values)[0], self.width)
        return dropout.mask(dropout_key, self.layer, site, shape, self.rate, self.compute_dtype)
