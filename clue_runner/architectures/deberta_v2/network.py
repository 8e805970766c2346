"""DeBERTa-v2's encoder from its parts: contents are multiplied with distances in every layer.

In: a shape, the size of the vocabulary, precision and seed. Out: a ``Backbone`` with random weights.
Knows nothing about checkpoints; they are loaded into it by name afterwards.

The score of a query and a key is query * key + query * K(distance) + key * Q(distance), divided by the root
of three head widths; K and Q project rows of a table that all layers share. Small distances have a row each,
large ones share rows, more of them the larger they are. Source: arXiv 2006.03654.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from keras import ops
from numpy.typing import NDArray

from clue_runner.architectures.deberta_v2.shape import NO_TABLE
from clue_runner.errors import UsageError
from clue_runner.models import dropout
from clue_runner.models.attention import SelfAttention
from clue_runner.models.backbone import Backbone
from clue_runner.models.embeddings import Embeddings
from clue_runner.models.kernels import dense
from clue_runner.models.part import POLICIES, Part
from clue_runner.models.positions import LearnedPositions, Positions
from clue_runner.models.transformer import Block, Norm


class Distances(Part):
    """The table of distances, which all layers share."""

    def __init__(self, prefix: str, seed: int, dtype_policy: str, *, shape: Any) -> None:
        super().__init__(prefix, seed, dtype_policy)
        width = shape.hidden_dim
        self.table = self.weight("table", (2 * shape.span, width))
        self.norm = None
        if shape.distance_norm:
            epsilon = shape.layer_norm_epsilon
            self.norm = Norm(f"{prefix}/norm", seed, dtype_policy, width=width, epsilon=epsilon)

    def vectors(self) -> Any:
        """Return the normed rows, (distances, width), in the compute type."""
        table = ops.convert_to_tensor(self.table)
        return self.cast(table) if self.norm is None else self.norm(table)


class DistancePositions(Positions):
    """Positions inside attention, and optionally a table that is also added to the embedding."""

    in_attention = True
    adds_scores = True

    def __init__(self, absolute: LearnedPositions | None) -> None:
        self.absolute = absolute

    def create(self, weight: Callable[..., Any], width: int) -> None:
        """Create the position table, if there is one."""
        if self.absolute is not None:
            self.absolute.create(weight, width)

    def embedded(self, length: Any, position_ids: Any | None) -> Any | None:
        """Return the position embeddings, if there is a table."""
        return None if self.absolute is None else self.absolute.embedded(length, position_ids)


class DisentangledAttention(SelfAttention):
    """Attention whose scores also include products of contents and distances.

    Args:
        prefix: stable name of the layer.
        seed: source of the initial weights.
        dtype_policy: ``float32`` or ``mixed_bfloat16``.
        shape: of the family.
        positions: says that position ids are needed.
        distances: the table that all layers share.
    """

    def __init__(
        self,
        prefix: str,
        seed: int,
        dtype_policy: str,
        *,
        shape: Any,
        positions: Positions,
        distances: Distances,
    ) -> None:
        super().__init__(prefix, seed, dtype_policy, shape=shape, positions=positions)
        self.distances, self.position_rate = distances, shape.dropout
        self.terms = [name for name in ("query", "key") if shape.position_terms in {"both", name}]
        self.scale = 1 / math.sqrt(self.width // self.heads * (1 + len(self.terms)))
        self.rows = rows_of_distances(shape.span, shape.max_distance, logarithmic=shape.buckets > 0)
        # the projection of the other factor: distances are multiplied with queries as keys are
        self.projected = {"query": "key", "key": "query"}
        self.shared = shape.shared_projections
        if not self.shared:
            for name in (self.projected[term] for term in self.terms):
                self.kernels[f"distance_{name}"] = self.weight(
                    f"distance_{name}/kernel", (self.width, self.width)
                )
                self.biases[f"distance_{name}"] = self.weight(f"distance_{name}/bias", (self.width,), "zeros")

    def scores(
        self, query: Any, key: Any, query_ids: Any, key_ids: Any, layer: int, dropout_key: Any | None
    ) -> Any:
        """Return the products with distances; arguments as in ``SelfAttention``."""
        table = self.distances.vectors()
        site = f"layers/{layer}/attention/distances"
        drop = dropout.mask(
            dropout_key, site, tuple(ops.shape(table)), self.position_rate, self.compute_dtype
        )
        table = dropout.apply(table, drop)
        apart = query_ids[:, :, None] - key_ids[:, None, :]
        limit = len(self.rows) // 2
        index = ops.take(ops.convert_to_tensor(self.rows), ops.clip(apart, -limit, limit) + limit, axis=0)
        found = []
        if "query" in self.terms:
            found.append(chosen(self._products(query, table, "key"), index))
        if "key" in self.terms:
            turned = chosen(self._products(key, table, "query"), ops.transpose(index, (0, 2, 1)))
            found.append(ops.transpose(turned, (0, 1, 3, 2)))
        return ops.cast(sum(found[1:], found[0]), "float32")

    def _products(self, contents: Any, table: Any, name: str) -> Any:
        """Return (rows, heads, tokens, distances): contents times distances, projected like ``name``."""
        kernel, bias = (
            ops.convert_to_tensor(of[name if self.shared else f"distance_{name}"])
            * (self.scale if name == "query" else 1.0)
            for of in (self.kernels, self.biases)
        )
        vectors = dense(table, self.cast(kernel), self.cast(bias))
        by_head = ops.reshape(vectors, (-1, self.heads, self.width // self.heads))
        return ops.matmul(contents, ops.transpose(by_head, (1, 2, 0))[None])


def chosen(products: Any, index: Any) -> Any:
    """Return (rows, heads, tokens, others): for each token, the products with its distances to others.

    Whole rows are gathered, so that the gradient adds rows and not single numbers.

    Args:
        products: (rows, heads, tokens, distances).
        index: (1 or rows, tokens, others) int32.
    """
    rows, heads, tokens, distances = ops.shape(products)
    others = ops.shape(index)[2]
    alike = index.shape[0] == 1  # all rows have the same distances: their products are adjacent
    order = (2, 3, 0, 1) if alike else (0, 2, 3, 1)
    groups, side = (1, rows * heads) if alike else (rows, heads)
    table = ops.reshape(ops.transpose(products, order), (groups * tokens * distances, side))
    starts = ops.reshape(ops.arange(groups * tokens, dtype="int32") * distances, (groups, tokens, 1))
    taken = ops.take(table, ops.reshape(index + starts, (-1,)), axis=0)
    if alike:
        found = ops.reshape(taken, (tokens, others, rows, heads))
        return ops.transpose(found, (2, 3, 0, 1))
    return ops.transpose(ops.reshape(taken, (rows, tokens, others, heads)), (0, 3, 1, 2))


def rows_of_distances(span: int, farthest: int, *, logarithmic: bool) -> NDArray[np.int32]:
    """Return the row of the table for each distance (query position minus key position) from -``farthest``.

    Args:
        span: rows on each side of distance 0; the table has twice as many.
        farthest: distance beyond which all are equal.
        logarithmic: distances beyond half the span share rows.
    """
    apart = np.arange(-farthest, farthest + 1, dtype=np.float32)
    if logarithmic:
        middle = span // 2
        far = np.maximum(np.abs(apart), np.float32(middle)) / np.float32(middle)
        whole = np.log(np.float32((farthest - 1) / middle))
        steps = np.ceil(np.log(far) / whole * np.float32(middle - 1)) + middle
        apart = np.where(np.abs(apart) <= middle, apart, steps * np.sign(apart))
    return np.clip(apart + span, 0, 2 * span - 1).astype(np.int32)


def build(shape: Any, vocab_size: int, *, precision: str, seed: int, pooler: bool = True) -> Backbone:
    """Return the encoder; arguments as in ``Architecture.build``."""
    if shape.positions == "hierarchical" and not shape.absolute:
        raise UsageError(NO_TABLE, where="model.positions", received=shape.positions, allowed="learned")
    shared = (seed, POLICIES[precision])
    absolute = LearnedPositions(shape.max_positions, shape.stretch) if shape.absolute else None
    positions = DistancePositions(absolute)
    embeddings = Embeddings(
        "backbone/embeddings", *shared, shape=shape, vocab_size=vocab_size, positions=positions
    )
    distances = Distances("backbone/distances", *shared, shape=shape)
    blocks = []
    for layer in range(shape.num_layers):
        name = f"backbone/block_{layer}"
        attention = DisentangledAttention(
            f"{name}/attention", *shared, shape=shape, positions=positions, distances=distances
        )
        blocks.append(Block(name, *shared, shape=shape, attention=attention))
    return Backbone(*shared, shape=shape, embeddings=embeddings, blocks=blocks, pooler=pooler)
