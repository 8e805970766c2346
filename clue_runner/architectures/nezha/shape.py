"""NEZHA's shape: BERT's sizes without a table of positions, and the farthest distance that counts.

In: values. Out: a frozen ``Shape``. Knows nothing about tensors; imports no Keras.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from clue_runner.architectures.encoder_shape import EncoderSizes, NoTable
from clue_runner.architectures.raw_config import RawConfig
from clue_runner.config.schema import Positive
from clue_runner.models.shape import ScoreTables

FARTHEST = 64  # of Huawei's release, and of NezhaConfig
LARGEST_DISTANCE = 65_536


class Shape(EncoderSizes):
    """Sizes and options of NEZHA's encoder."""

    ADDS_SCORES: ClassVar[bool] = True
    SIZES: ClassVar[frozenset[str]] = EncoderSizes.SIZES | {"max_distance"}
    REFUSED: ClassVar[Mapping[str, Sequence[Any]]] = {
        **EncoderSizes.REFUSED,
        "use_relative_position": (True,),
    }

    max_distance: Positive = Field(
        default=FARTHEST, description="distance between tokens beyond which all count as equal"
    )
    positions: Annotated[Literal["relative"], NoTable] = Field(
        default="relative", description="add a vector for each distance to keys and values"
    )

    def score_tables(self, rows: int, length: int) -> ScoreTables:
        """Return the scores by distance, and the vector of each pair's distance, the same in every row."""
        pairs = length * length
        return ScoreTables(
            added=rows * self.num_heads * pairs, shared=pairs * (self.hidden_dim // self.num_heads)
        )

    @classmethod
    def claims(cls, raw: Mapping[str, Any]) -> bool:
        """Return whether a config says what only NEZHA's do."""
        return raw.get("use_relative_position") is True

    @classmethod
    def own_values(cls, config: RawConfig) -> dict[str, Any]:
        """Return the farthest distance."""
        return {"max_distance": config.count("max_relative_position", LARGEST_DISTANCE, FARTHEST)}

    def own_config(self) -> dict[str, Any]:
        """Return the farthest distance under its published key."""
        return {"use_relative_position": True, "max_relative_position": self.max_distance}
