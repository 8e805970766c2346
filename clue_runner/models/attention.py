"""Multi-head self-attention with one matrix product for query, key and value.

In: (rows * length, width) tokens, and what they may see. Out: the attended tokens, projected.
Knows nothing about residuals, norms or where dropout keys come from.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from keras import ops

from clue_runner.config.attention import LONGEST_WHOLE
from clue_runner.errors import UsageError
from clue_runner.models import dropout
from clue_runner.models.attention_forms import attend_chunked, attend_fused, attend_whole
from clue_runner.models.kernels import Moved, dense
from clue_runner.models.part import Part
from clue_runner.models.positions import Positions
from clue_runner.models.shape import BlockShape


@dataclass(frozen=True)  # no tuple: Keras takes no argument that nests tensors and numbers
class View:
    """Which tokens of a batch may attend to which.

    Attributes:
        rows: rows of the batch; a number, or a tensor in a graph for any number.
        queries: tokens in each row.
        bias: (1 or rows, 1 or heads, 1 or queries, keys) float32, a constant; None: all attend to all.
        added: trained scores in such a shape, see ``kernels.attend``; None: none.
        position_ids: (1 or rows, queries) int32, where positions work inside attention; else None.
    """

    rows: Any
    queries: Any
    bias: Any | None
    added: Any | None = None
    position_ids: Any | None = None

    def first(self) -> View:
        """Return what the first token of each row sees."""
        bias, added = (
            term[:, :, :1] if term is not None and term.shape[2] != 1 else term
            for term in (self.bias, self.added)
        )
        ids = None if self.position_ids is None else self.position_ids[:, :1]
        return View(self.rows, 1, bias, added, ids)


class KeyValues(NamedTuple):
    """Keys and values of earlier tokens in one layer, in tables of a fixed length.

    Attributes:
        key: (rows, heads, table, head width).
        value: (rows, heads, table, head width).
        position_ids: (1 or rows, table) int32, where positions work inside attention; else None.
        filled: () int32, number of places in use; new tokens are written behind them.
    """

    key: Any
    value: Any
    position_ids: Any | None
    filled: Any

    def extended(self, key: Any, value: Any, position_ids: Any | None) -> KeyValues:
        """Return the tables with the keys and values of new tokens in them."""
        filled = self.filled + ops.shape(key)[2]
        ids = self.position_ids
        if ids is not None and position_ids is not None:
            ids = ops.slice_update(ids, (0, self.filled), position_ids)
        place = (0, 0, self.filled, 0)
        return KeyValues(
            ops.slice_update(self.key, place, key), ops.slice_update(self.value, place, value), ids, filled
        )


KERNELS = ("query", "key", "value")


class SelfAttention(Part):
    """Attention as in BERT; weights are stored separately (query, key, value) and joined in the step.

    Args:
        prefix: stable name of the layer.
        seed: source of the initial weights.
        dtype_policy: ``float32`` or ``mixed_bfloat16``.
        shape: sizes, the dropout rate, and the form that attention is computed in.
        positions: rotates queries and keys, adds scores, or shifts values.
        bias: whether the projections have one.

    Raises:
        UsageError: the fused kernel would have to add scores; in a call: to apply a mask other than padding.
    """

    def __init__(
        self,
        prefix: str,
        seed: int,
        dtype_policy: str,
        *,
        shape: BlockShape,
        positions: Positions,
        bias: bool = True,
    ) -> None:
        super().__init__(prefix, seed, dtype_policy)
        self.form, self.positions = shape.attention, positions
        self.width, self.heads, self.rate = shape.hidden_dim, shape.num_heads, shape.attention_dropout
        if self.form == "fused" and positions.adds_scores:
            raise _not_fused("cannot add the scores of this model's positions")
        self.scale = 1 / math.sqrt(self.width // self.heads)
        self.kernels = {}
        self.biases = {}
        for name in ("query", "key", "value", "output"):
            self.kernels[name] = self.weight(f"{name}/kernel", (self.width, self.width))
            if bias:
                self.biases[name] = self.weight(f"{name}/bias", (self.width,), "zeros")

    def call(
        self,
        tokens: Any,
        *,
        view: View,
        layer: int,
        key: Any | None = None,
        first_only: bool = False,
        cache: KeyValues | None = None,
    ) -> tuple[Any, KeyValues | None]:
        """Return ((rows * queries, width), the cache with these tokens in it).

        Args:
            tokens: (rows * queries, width).
            view: what they attend to; with a cache, over its whole table.
            layer: number of this call in the network, which dropout masks depend on.
            key: (2,) int32 of the micro-batch; None: inference.
            first_only: attend only from the first token of each row (queries = 1).
            cache: this layer's; None: the tokens attend only to each other.
        """
        rows, length = view.rows, view.queries
        if first_only:
            first = ops.reshape(tokens, (rows, length, self.width))[:, 0]
            (queries,) = self._heads(first, ("query",), rows, 1)
            keys, values = self._heads(tokens, ("key", "value"), rows, length)
        elif cache is not None:
            queries, keys, values = (self._alone(tokens, name, rows, length) for name in KERNELS)
        else:
            queries, keys, values = self._heads(tokens, KERNELS, rows, length)
        seen = view.first() if first_only else view
        key_ids = view.position_ids
        if cache is not None:
            cache = cache.extended(keys, values, key_ids)
            keys, values, key_ids = cache.key, cache.value, cache.position_ids
        added, moved = seen.added, None
        if self.positions.in_attention:
            ids = (seen.position_ids, key_ids)
            queries, keys = self.positions.rotate(queries, keys, *ids)
            more = self.scores(queries, keys, *ids, layer, key)
            added = added if more is None else more if added is None else added + more
            moved = self.positions.moved(*ids, self.compute_dtype)
        drop = dropout.site(key, f"layers/{layer}/attention/probabilities", self.rate)
        context = self._attend(queries, keys, values, replace(seen, added=added), drop, first_only, moved)
        context = ops.reshape(ops.transpose(context, (0, 2, 1, 3)), (-1, self.width))
        bias = self.biases.get("output")
        output = dense(context, self.cast(self.kernels["output"]), None if bias is None else self.cast(bias))
        return output, cache

    def scores(
        self, query: Any, key: Any, query_ids: Any, key_ids: Any, layer: int, dropout_key: Any | None
    ) -> Any | None:
        """Return what positions add to the scores; families whose positions need weights override it.

        Args:
            query: as in ``Positions.scores``.
            key: as in ``Positions.scores``.
            query_ids: as in ``Positions.scores``.
            key_ids: as in ``Positions.scores``.
            layer: as in ``call``.
            dropout_key: ``call``'s ``key``.
        """
        return self.positions.scores(query, key, query_ids, key_ids)

    def _attend(
        self,
        query: Any,
        key: Any,
        value: Any,
        view: View,
        drop: dropout.Site | None,
        first_only: bool,
        moved: Moved | None,
    ) -> Any:
        """Compute attention in the requested form; a single query needs none."""
        length = ops.shape(key)[2]
        long = self.form == "auto" and isinstance(length, int) and length > LONGEST_WHOLE
        if self.form == "fused" and drop is not None:
            raise ValueError("the fused kernel has no dropout by key: set model.attention_dropout to 0")
        if self.form == "fused" and not first_only:
            if view.added is not None or view.bias is None:
                raise _not_fused("supports padding, but neither other masks nor added scores")
            return attend_fused(query, key, value, view.bias)
        if (self.form == "chunked" or long) and not first_only:
            return attend_chunked(query, key, value, view.bias, drop, added=view.added, moved=moved)
        return attend_whole(query, key, value, view.bias, drop, view.added, moved)

    def _heads(self, tokens: Any, names: tuple[str, ...], rows: Any, length: Any) -> list[Any]:
        """Project tokens by the named kernels at once; each result is (rows, heads, length, head width)."""
        size = self.width // self.heads
        kernel = ops.concatenate([self._scaled(self.kernels[name], name) for name in names], axis=1)
        bias = None
        if self.biases:
            bias = self.cast(
                ops.concatenate([self._scaled(self.biases[name], name) for name in names], axis=0)
            )
        joined = dense(tokens, self.cast(kernel), bias)
        parts = ops.reshape(joined, (rows, length, len(names), self.heads, size))
        return list(ops.unstack(ops.transpose(parts, (2, 0, 3, 1, 4)), len(names), axis=0))

    def _alone(self, tokens: Any, name: str, rows: Any, length: Any) -> Any:
        """Project tokens by one kernel: (rows, heads, length, head width).

        For few tokens, a joint kernel costs more than it saves: three weights are copied for each token that
        is written, and TensorFlow copies those of all layers before it computes the first.
        """
        bias = self.biases.get(name)
        found = dense(tokens, self.cast(self.kernels[name]), None if bias is None else self.cast(bias))
        found = found * self.scale if name == "query" else found
        parts = ops.reshape(found, (rows, length, self.heads, self.width // self.heads))
        return ops.transpose(parts, (0, 2, 1, 3))

    def _scaled(self, weight: Any, name: str) -> Any:
        """Fold the division by the root of the head width into the small query weights."""
        value = ops.convert_to_tensor(weight)
        return value * self.scale if name == "query" else value


def _not_fused(why: str) -> UsageError:
    """Return the error for something that the fused kernel cannot do."""
    return UsageError(
        f"the fused kernel {why}",
        where="model.attention",
        received="fused",
        allowed="auto, einsum, chunked",
        next_step="--set model.attention=auto",
    )
