"""The reader's shape: its width, its dropout rates, and the dilations of its convolutions.

In: values. Out: a frozen ``Shape``. Knows nothing about tensors; imports no Keras.
Sizes as in the published network: kexue.fm/archives/5409, 6671 and 6906.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Literal, Self

from pydantic import Field

from clue_runner.architectures.base import BaseShape, Lookup
from clue_runner.architectures.name_table import Axes
from clue_runner.architectures.raw_config import RawConfig
from clue_runner.config.pairs import pair_problem
from clue_runner.config.schema import Positive, Share
from clue_runner.errors import Problem

QUESTION_RATES = (1, 2, 1)
PASSAGE_RATES = (1, 2, 4, 8, 16, 1)
KERNEL = 3  # characters that a convolution sees


class Shape(BaseShape):
    """Sizes and options of the reader."""

    SIZES: ClassVar[frozenset[str]] = frozenset({"num_layers", "hidden_dim"})
    OWN_VOCABULARY: ClassVar[bool] = True

    num_layers: Literal[9] = Field(
        default=9, description="convolutions: 3 for the question, 6 for the passage"
    )
    hidden_dim: Positive = Field(default=128, description="width of a character's vector")
    max_positions: Positive = Field(
        default=4096, description="longest passage; convolutions have no position table"
    )
    dropout: Share = Field(default=0.1, description="dropout after the embedding")
    head_dropout: Share = Field(default=0.1, description="dropout on the logits of the gates")

    @property
    def position_limit(self) -> int:
        """Return the maximum length of a passage."""
        return self.max_positions

    @classmethod
    def from_config(cls, config: RawConfig) -> Self:
        """Refuse: no one publishes weights of this family; see ``BaseShape``."""
        config.require("model_type", (), "no published weights of this family are known")
        config.finish(advice="train it: --task webqa")
        return cls(num_layers=9)

    def axes(self, vocab_size: int) -> Axes:
        """Return the length of each axis of the name table."""
        width = self.hidden_dim
        return {
            "vocabulary": vocab_size,
            "width": width,
            "double": 2 * width,
            "kernel": KERNEL,
            "one": 1,
        }

    def lookups(self, vocab_size: int) -> Sequence[Lookup]:
        """Return the tables that must contain the ids."""
        advice = "encode the rows again: --set data.cache=false"
        return (
            Lookup("token_ids", vocab_size, "task.min_count", advice),
            Lookup("question_ids", vocab_size, "task.min_count", advice),
        )

    @classmethod
    def cross_checks(cls, values: Mapping[str, Any], origins: Mapping[str, str]) -> Iterator[Problem]:
        """Yield rows that are longer than the longest passage."""
        length, longest = "data.max_length", "model.max_positions"
        if values[length] > values[longest]:
            yield pair_problem("rows are longer than the longest passage", length, longest, values, origins)
