"""RoFormer's shape: BERT's sizes without a table of positions, and which of its two versions it is.

In: values. Out: a frozen ``Shape``. Knows nothing about tensors; imports no Keras.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from clue_runner.architectures.encoder_shape import LARGEST_WIDTH, EncoderSizes, NoTable
from clue_runner.architectures.raw_config import RawConfig
from clue_runner.config.schema import Positive

SECOND = "roformer_v2"  # as bert4keras calls it
EPSILON_OF_SECOND = 1e-7  # K.epsilon() of bert4keras, whose configs do not say it


class Shape(EncoderSizes):
    """Sizes and options of RoFormer's encoder."""

    MODEL_TYPES: ClassVar[tuple[str, ...]] = ("roformer", SECOND)
    SIZES: ClassVar[frozenset[str]] = EncoderSizes.SIZES | {"embedding_width", "version"}
    REFUSED: ClassVar[Mapping[str, Sequence[Any]]] = {**EncoderSizes.REFUSED, "rotary_value": (False,)}

    embedding_width: Positive | None = Field(
        default=None, description="width of the embedded tokens; null: hidden_dim"
    )
    version: Literal["1", "2"] = Field(
        default="1", description="2: no biases, and norms that only divide by the root mean square"
    )
    positions: Annotated[Literal["rotary"], NoTable] = Field(
        default="rotary", description="query and key are rotated by the positions of their tokens"
    )

    @property
    def embedding_dim(self) -> int:
        """Return the width of the embedded tokens."""
        return self.embedding_width or self.hidden_dim

    @property
    def absent_groups(self) -> frozenset[str]:
        """Return the groups of the other version, and the layer that maps the embedding where it is not."""
        bare = {"norm", "map_bias", "blocks"}
        absent = bare if self.version == "2" else {"bare_blocks"}
        mapped = self.embedding_dim != self.hidden_dim
        return frozenset(absent | (set() if mapped else {"map", "map_bias"}))

    @classmethod
    def own_values(cls, config: RawConfig) -> dict[str, Any]:
        """Return the version and the width of the embedding."""
        hidden = config.raw.get("hidden_size")
        second = config.raw.get("model_type") == SECOND or config.raw.get("norm_type") == "rms_norm"
        width = config.raw.get("embedding_size") or hidden
        found: dict[str, Any] = {
            "embedding_width": None if width == hidden else config.count("embedding_size", LARGEST_WIDTH),
            "version": "2" if second else "1",
        }
        if second and "layer_norm_eps" not in config.raw:
            found["layer_norm_epsilon"] = EPSILON_OF_SECOND
        return found

    def own_config(self) -> dict[str, Any]:
        """Return the version and the width of the embedding under their published keys."""
        version = {"model_type": SECOND} if self.version == "2" else {}
        return {"embedding_size": self.embedding_dim, "rotary_value": False, **version}
