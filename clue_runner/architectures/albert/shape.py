"""ALBERT's shape: BERT's sizes, the width of the embedding, and where it is projected.

In: values. Out: a frozen ``Shape``. Knows nothing about tensors; imports no Keras.
Google's form maps the normed sum of word, position and segment, as Hugging Face does. The albert_zh release
of 2019 multiplies word vectors with a matrix before the sum, whose other terms have the blocks' width; its
configs say ``ln_type``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

from pydantic import Field

from clue_runner.architectures.encoder_shape import LARGEST_WIDTH, EncoderSizes, LearnedSizes
from clue_runner.architectures.name_table import Axes
from clue_runner.architectures.raw_config import RawConfig
from clue_runner.config.schema import Positive
from clue_runner.errors import Problem

ALBERT_ZH = "ln_type"
DEFAULT_EMBEDDING = 128  # of AlbertConfig, both Google's and Hugging Face's


class Shape(LearnedSizes):
    """Sizes and options of ALBERT's encoder."""

    SIZES: ClassVar[frozenset[str]] = EncoderSizes.SIZES | {"embedding_width", "widened"}
    REFUSED: ClassVar[Mapping[str, Sequence[Any]]] = {
        **EncoderSizes.REFUSED,
        "position_embedding_type": ("absolute",),
        "num_hidden_groups": (1,),
        "inner_group_num": (1,),
        "ln_type": ("postln",),
    }

    embedding_width: Positive = Field(default=128, description="width of a row of the token embeddings")
    widened: Literal["normed", "words"] = Field(
        default="normed",
        description="what is mapped to hidden_dim: the normed embedding, or (albert_zh) the word vectors",
    )

    @property
    def embedding_dim(self) -> int:
        """Return the width of a row of the token embeddings."""
        return self.embedding_width

    @property
    def absent_groups(self) -> frozenset[str]:
        """Return the groups of the other form."""
        if self.widened == "words":
            return frozenset({"embeddings", "map", "block", "masked_words"})
        absent = {"zh_embeddings", "zh_block", "zh_masked_words"}
        return frozenset(absent | ({"map"} if self.embedding_width == self.hidden_dim else set()))

    @classmethod
    def claims(cls, raw: Mapping[str, Any]) -> bool:
        """Return whether a config has values that only ALBERT's have."""
        narrow = raw.get("embedding_size") not in {None, raw.get("hidden_size")}
        return "num_hidden_groups" in raw or (ALBERT_ZH in raw and narrow)

    @classmethod
    def own_values(cls, config: RawConfig) -> dict[str, Any]:
        """Return the width of the embedding and the form of its projection."""
        width = config.count("embedding_size", LARGEST_WIDTH, DEFAULT_EMBEDDING)
        if width == config.raw.get("hidden_size"):
            # Hugging Face then has a layer between embedding and blocks, Google has none
            what = "not supported: as wide as the blocks, where publishers differ in what is between"
            config.unsupported.append(Problem(what, "embedding_size", str(width), "less than hidden_size"))
        return {"embedding_width": width, "widened": "words" if ALBERT_ZH in config.raw else "normed"}

    def own_config(self) -> dict[str, Any]:
        """Return the width of the embedding and the form of its projection under their published keys."""
        form = {ALBERT_ZH: "postln"} if self.widened == "words" else {}
        return {"embedding_size": self.embedding_width, "num_hidden_groups": 1, "inner_group_num": 1, **form}

    def axes(self, vocab_size: int) -> Axes:
        """Return the length of each axis of the name table."""
        return {**super().axes(vocab_size), "embedding": self.embedding_width}
