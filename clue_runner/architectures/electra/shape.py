"""ELECTRA's shape: BERT's sizes and the width of the embedding, which a layer maps to that of the blocks.

In: values. Out: a frozen ``Shape``. Knows nothing about tensors; imports no Keras.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from pydantic import Field

from clue_runner.architectures.encoder_shape import LARGEST_WIDTH, EncoderSizes, LearnedSizes
from clue_runner.architectures.raw_config import RawConfig
from clue_runner.config.schema import Positive

DEFAULT_EMBEDDING = 128  # of ElectraConfig


class Shape(LearnedSizes):
    """Sizes and options of ELECTRA's discriminator or generator."""

    MASKED: ClassVar[str | None] = None  # a discriminator was trained on words from a generator, not on masks
    SIZES: ClassVar[frozenset[str]] = EncoderSizes.SIZES | {"embedding_width"}
    REFUSED: ClassVar[Mapping[str, Sequence[Any]]] = {
        **EncoderSizes.REFUSED,
        "position_embedding_type": ("absolute",),
    }

    embedding_width: Positive | None = Field(
        default=None, description="width of the embedded tokens; null: hidden_dim"
    )

    @property
    def embedding_dim(self) -> int:
        """Return the width of the embedded tokens."""
        return self.embedding_width or self.hidden_dim

    @property
    def absent_groups(self) -> frozenset[str]:
        """Return the layer that maps the embedding if no mapping is needed."""
        return frozenset({"map"} if self.embedding_dim == self.hidden_dim else ())

    @classmethod
    def own_values(cls, config: RawConfig) -> dict[str, Any]:
        """Return the width of the embedding."""
        return {"embedding_width": config.count("embedding_size", LARGEST_WIDTH, DEFAULT_EMBEDDING)}

    def own_config(self) -> dict[str, Any]:
        """Return the width of the embedding under its published key."""
        return {"embedding_size": self.embedding_dim}
