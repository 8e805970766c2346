"""The sizes and options that the parts of an encoder read from a family's shape, by name.

In: nothing. Out: types alone. Knows nothing about families, tensors or settings' files; imports no Keras.
"""

from __future__ import annotations

from typing import ClassVar, Literal, NamedTuple, Protocol, runtime_checkable

Activation = Literal["gelu", "gelu_tanh", "relu"]
AttentionForm = Literal["auto", "einsum", "chunked", "fused"]
Policy = Literal["nothing", "dots", "everything"]


class ScoreTables(NamedTuple):
    """What positions inside attention add to the memory of a block, in numbers.

    Attributes:
        added: float32 scores that are added; kept for the backward pass only where that computes anew from
            the inputs of attention (a few queries at a time).
        products: tables that exist while those scores are made, before the block's own scores.
        kept: for the backward pass, in the compute type.
        shared: kept once for all blocks.
    """

    added: int = 0
    products: int = 0
    kept: int = 0
    shared: int = 0


class Recomputation(Protocol):
    """What the backward pass computes again; ``model.recompute`` and ``model.recompute_policy``."""

    recompute: str
    recompute_policy: Policy


@runtime_checkable
class BlockShape(Protocol):
    """What a block of attention and feed-forward reads."""

    hidden_dim: int
    num_heads: int
    intermediate_dim: int
    activation: Activation
    layer_norm_epsilon: float
    dropout: float
    attention_dropout: float
    attention: AttentionForm
    ADDS_SCORES: ClassVar[bool]  # positions work in a way that the fused kernel cannot


@runtime_checkable
class EncoderShape(BlockShape, Recomputation, Protocol):
    """What embeddings and the stack of blocks read beyond that."""

    num_layers: int
    num_segments: int

    @property
    def embedding_dim(self) -> int:
        """Return the width of the embedded tokens; another than ``hidden_dim`` has a layer in between."""

    @property
    def position_limit(self) -> int:
        """Return the longest row that the positions reach."""

    def score_tables(self, rows: int, length: int) -> ScoreTables:
        """Return what the positions add to the memory of each block."""
