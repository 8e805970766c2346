"""One post-norm encoder block as in BERT: attention, then feed-forward, each with dropout, sum and norm.

In: (rows * length, width) tokens. Out: the same shape, or the first token of each row.
Knows nothing about embeddings, pooling or how many blocks there are. A block does not know its number either:
if one block serves every layer, each call must draw its own masks.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from keras import ops

from clue_runner.models import dropout
from clue_runner.models.attention import KeyValues, SelfAttention, View
from clue_runner.models.kernels import dense, gelu, layer_norm, residual_sum, root_mean_norm, trained_gelu
from clue_runner.models.part import Part
from clue_runner.models.positions import Positions
from clue_runner.models.recompute import Step, chain, run_steps
from clue_runner.models.shape import BlockShape, Recomputation

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
        scale, offset = ops.cast(self.scale, "float32"), ops.cast(self.offset, "float32")
        return self.cast(layer_norm(total, scale, offset, self.epsilon))


class BareNorm(Part):
    """Division by the root mean square: no weights, no mean."""

    def __init__(self, prefix: str, seed: int, dtype_policy: str, *, width: int, epsilon: float) -> None:
        super().__init__(prefix, seed, dtype_policy)
        self.epsilon = epsilon

    def call(self, total: Any) -> Any:
        """Return the norm of float32 (tokens, width) in the compute type."""
        return self.cast(root_mean_norm(total, self.epsilon))


class Block(Part):
    """Attention and feed-forward, each followed by dropout, the residual sum and a layer norm.

    It is run by halves, which end with the sum: a recomputed part is best cut there (see ``run_blocks``).

    Args:
        prefix: stable name of the layer.
        seed: source of the initial weights.
        dtype_policy: ``float32`` or ``mixed_bfloat16``.
        shape: sizes, rates and options.
        attention: a layer called as ``SelfAttention`` is, for families with one of their own; None: that one.
        bare: the norms have no weights and no mean, and nothing has a bias.
    """

    def __init__(
        self,
        prefix: str,
        seed: int,
        dtype_policy: str,
        *,
        shape: BlockShape,
        attention: Part | None = None,
        bare: bool = False,
    ) -> None:
        super().__init__(prefix, seed, dtype_policy)
        shared, width, inner = (seed, dtype_policy), shape.hidden_dim, shape.intermediate_dim
        kind = BareNorm if bare else Norm
        norm = functools.partial(kind, width=width, epsilon=shape.layer_norm_epsilon)
        self.width, self.rate, self.activation = width, shape.dropout, ACTIVATIONS[shape.activation]
        self.attention = attention or SelfAttention(
            f"{prefix}/attention", *shared, shape=shape, positions=Positions(), bias=not bare
        )
        self.attention_norm = norm(f"{prefix}/attention/norm", *shared)
        self.inner_kernel = self.weight("feed_forward/inner/kernel", (width, inner))
        self.inner_bias = None if bare else self.weight("feed_forward/inner/bias", (inner,), "zeros")
        self.outer_kernel = self.weight("feed_forward/outer/kernel", (inner, width))
        self.outer_bias = None if bare else self.weight("feed_forward/outer/bias", (width,), "zeros")
        self.output_norm = norm(f"{prefix}/feed_forward/norm", *shared)

    def attend(
        self,
        tokens: Any,
        view: View,
        layer: int,
        key: Any | None,
        *,
        first_only: bool = False,
        cache: KeyValues | None = None,
    ) -> tuple[Any, KeyValues | None]:
        """Return (tokens + dropout(attention), cache), float32, the norm still to come.

        (rows * length, width), or (rows, width) with ``first_only``; arguments as in ``SelfAttention``.
        """
        attended, cache = self.attention(
            tokens, view=view, layer=layer, key=key, first_only=first_only, cache=cache
        )
        if first_only:
            tokens = ops.reshape(tokens, (view.rows, view.queries, self.width))[:, 0]
        drop = self._mask(tokens, f"layers/{layer}/attention/output", key)
        return residual_sum(tokens, attended, drop), cache

    def second_half(self, state: Any, layer: int, key: Any | None) -> Any:
        """Return what ``attend`` gave, through its norm and the feed-forward layer; the last norm to come."""
        return self.feed_forward(self.attention_norm(state), layer, key)

    def feed_forward(self, tokens: Any, layer: int, key: Any | None) -> Any:
        """Return tokens + dropout(two dense layers), float32, the norm still to come."""
        outer = self.branch(tokens, key)
        drop = self._mask(tokens, f"layers/{layer}/feed_forward/output", key)
        return residual_sum(tokens, outer, drop)

    def branch(self, tokens: Any, key: Any | None) -> Any:
        """Return two dense layers with the activation between them."""
        activation = self.activation
        if activation is gelu and key is not None:
            activation = trained_gelu
        biases = [None if one is None else self.cast(one) for one in (self.inner_bias, self.outer_bias)]
        inner = activation(dense(tokens, self.cast(self.inner_kernel), biases[0]))
        return dense(inner, self.cast(self.outer_kernel), biases[1])

    def _mask(self, tokens: Any, site: str, key: Any | None) -> dropout.Mask | None:
        """Return the dropout mask of one site of this block.

        Its shape is read from the tokens that go in: read from the branch, a recomputed part would run the
        branch's last product again for its shape alone.
        """
        shape = (ops.shape(tokens)[0], self.width)
        return dropout.mask(key, site, shape, self.rate, self.compute_dtype)


def run_blocks(
    blocks: Sequence[Block],
    tokens: Any,
    view: View,
    key: Any | None,
    *,
    first_only: bool,
    options: Recomputation,
) -> Any:
    """Return the tokens after all blocks; in training, parts of them are computed again in the backward pass.

    A part begins with the norm of the sum before it and ends with a sum, so that the product that makes the
    sum need not run again: its gradient does not need its value.

    Args:
        blocks: in order; one block may appear in several places.
        tokens: (rows * length, width).
        view: as in ``SelfAttention``.
        key: (2,) int32; None: inference, nothing is recomputed.
        first_only: the last call computes the first token of each row alone.
        options: ``recompute`` and ``recompute_policy``.
    """
    last = len(blocks) - 1

    def attend(layer: int, state: Any, bias: Any, added: Any, ids: Any, key: Any | None) -> Any:
        tokens = blocks[layer - 1].output_norm(state) if layer else state
        seen = View(view.rows, view.queries, bias, added, ids)
        return blocks[layer].attend(tokens, seen, layer, key, first_only=first_only and layer == last)[0]

    def feed(layer: int, state: Any, bias: Any, added: Any, ids: Any, key: Any | None) -> Any:
        return blocks[layer].second_half(state, layer, key)

    recompute = "none" if key is None else options.recompute
    steps: list[Step] = []
    for layer in range(len(blocks)):
        halves = [functools.partial(attend, layer), functools.partial(feed, layer)]
        steps += halves if recompute == "sublayer" else [functools.partial(chain, halves)]
    # tensors go in as arguments: what a recomputed part takes from a closure gets no gradient on TensorFlow
    shared = (view.bias, view.added, view.position_ids, key)
    total = run_steps(steps, tokens, *shared, recompute=recompute, policy=options.recompute_policy)
    return blocks[-1].output_norm(total)


def run_cached(
    blocks: Sequence[Block], tokens: Any, view: View, caches: Sequence[KeyValues]
) -> tuple[Any, tuple[KeyValues, ...]]:
    """Return new tokens after all blocks and the caches with them, one for each place in ``blocks``.

    Inference alone; arguments as in ``run_blocks``.
    """
    new = []
    for layer, (block, cache) in enumerate(zip(blocks, caches, strict=True)):
        state, extended = block.attend(tokens, view, layer, None, cache=cache)
        new.append(extended)
        tokens = block.output_norm(block.second_half(state, layer, None))
    return tokens, tuple(cache for cache in new if cache is not None)
