"""One post-norm encoder block as in BERT: attention, then feed-forward, each with dropout, sum and norm.

In: (rows * length, width) tokens. Out: the same shape, or the first token of each row.
Knows nothing about embeddings, pooling or how many blocks there are.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from keras import ops

from clue_runner.models import dropout
from clue_runner.models.attention import SelfAttention
from clue_runner.models.kernels import dense, gelu, layer_norm, residual_sum, trained_gelu
from clue_runner.models.part import Part
from clue_runner.models.recompute import Policy, Step, chain, run_steps

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

    def call(self, total: Any) -> Any:
        """Return the norm of float32 (tokens, width) in the compute type."""
        scale, offset = ops.convert_to_tensor(self.scale), ops.convert_to_tensor(self.offset)
        return self.cast(layer_norm(total, scale, offset, self.epsilon))


class Block(Part):
    """Attention and feed-forward, each followed by dropout, the residual sum and a layer norm.

    It is run by halves, which end with the sum: a recomputed part is best cut there (see ``run_blocks``).
    """

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
        attention_form: str = "auto",
    ) -> None:
        super().__init__(prefix, seed, dtype_policy)
        shared = (seed, dtype_policy)
        self.layer, self.width, self.rate = layer, width, rate
        self.activation = ACTIVATIONS[activation]
        self.attention = SelfAttention(
            f"{prefix}/attention",
            *shared,
            layer=layer,
            width=width,
            heads=heads,
            rate=attention_rate,
            form=attention_form,
        )
        self.attention_norm = Norm(f"{prefix}/attention/norm", *shared, width=width, epsilon=epsilon)
        self.inner_kernel = self.weight("feed_forward/inner/kernel", (width, inner))
        self.inner_bias = self.weight("feed_forward/inner/bias", (inner,), "zeros")
        self.outer_kernel = self.weight("feed_forward/outer/kernel", (inner, width))
        self.outer_bias = self.weight("feed_forward/outer/bias", (width,), "zeros")
        self.output_norm = Norm(f"{prefix}/feed_forward/norm", *shared, width=width, epsilon=epsilon)

    def attend(self, tokens: Any, bias: Any, dropout_key: Any | None, *, first_only: bool = False) -> Any:
        """Return tokens + dropout(attention), float32, the norm still to come.

        (rows * length, width), or (rows, width) with ``first_only``; arguments as in ``SelfAttention``.
        """
        attended = self.attention(tokens, bias, dropout_key=dropout_key, first_only=first_only)
        if first_only:
            rows, length = ops.shape(bias)[0], ops.shape(bias)[3]
            tokens = ops.reshape(tokens, (rows, length, self.width))[:, 0]
        return residual_sum(tokens, attended, self._mask(tokens, AFTER_ATTENTION, dropout_key))

    def feed_forward(self, tokens: Any, dropout_key: Any | None) -> Any:
        """Return tokens + dropout(two dense layers), float32, the norm still to come."""
        activation = self.activation
        if activation is gelu and dropout_key is not None:
            activation = trained_gelu
        inner = activation(dense(tokens, self.cast(self.inner_kernel), self.cast(self.inner_bias)))
        outer = dense(inner, self.cast(self.outer_kernel), self.cast(self.outer_bias))
        return residual_sum(tokens, outer, self._mask(tokens, AFTER_FEED_FORWARD, dropout_key))

    def _mask(self, tokens: Any, site: int, dropout_key: Any | None) -> dropout.Mask | None:
        """Return the dropout mask of one site of this block.

        Its shape is read from the tokens that go in: read from the branch, a recomputed part would run the
        branch's last product again for its shape alone.
        """
        shape = (ops.shape(tokens)[0], self.width)
        return dropout.mask(dropout_key, self.layer, site, shape, self.rate, self.compute_dtype)


def run_blocks(
    blocks: Sequence[Block],
    tokens: Any,
    bias: Any,
    dropout_key: Any | None,
    *,
    first_only: bool,
    recompute: str,
    policy: Policy,
) -> Any:
    """Return the tokens after all blocks; in training, parts of them are computed again in the backward pass.

    A part begins with the norm of the sum before it and ends with a sum, so that the product that makes the
    sum need not run again: its gradient does not need its value.

    Args:
        blocks: in order.
        tokens: (rows * length, width).
        bias: as in ``SelfAttention``.
        dropout_key: (2,) int32; None: inference, nothing is recomputed.
        first_only: the last block computes the first token of each row alone.
        recompute: ``model.recompute``.
        policy: ``model.recompute_policy``.
    """

    def attend(block: Block, before: Block | None, state: Any, bias: Any, key: Any | None) -> Any:
        tokens = state if before is None else before.output_norm(state)
        return block.attend(tokens, bias, key, first_only=first_only and block is blocks[-1])

    def feed(block: Block, state: Any, bias: Any, key: Any | None) -> Any:
        return block.feed_forward(block.attention_norm(state), key)

    steps: list[Step] = []
    for before, block in zip((None, *blocks), blocks, strict=False):
        halves = [functools.partial(attend, block, before), functools.partial(feed, block)]
        steps += halves if recompute == "sublayer" else [functools.partial(chain, halves)]
    if dropout_key is None:
        recompute = "none"
    total = run_steps(steps, tokens, bias, dropout_key, recompute=recompute, policy=policy)
    return blocks[-1].output_norm(total)
