"""BERT's shape: its sizes and options, read from settings or from a config of the release or of Hugging Face.

In: values. Out: a frozen ``Shape``. Knows nothing about tensors; imports no Keras.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from clue_runner.architectures.encoder_shape import (
    EncoderSizes,
    LearnedSizes,
)
from clue_runner.architectures.raw_config import RawConfig


class Shape(LearnedSizes):
    """Sizes and options of BERT's encoder."""

    NAMELESS: ClassVar[bool] = True
    ADVICE: ClassVar[str] = "use a BERT-shaped checkpoint: BERT, RoBERTa-wwm, MacBERT, LERT, RBT"
    REFUSED: ClassVar[Mapping[str, Sequence[Any]]] = {
        **EncoderSizes.REFUSED,
        "position_embedding_type": ("absolute",),
        "ln_type": ("postln",),
    }

    @classmethod
    def own_values(cls, config: RawConfig) -> dict[str, Any]:
        """Refuse an embedding whose width differs from that of the blocks."""
        factorised = "not of this family: the embedding is factorised; name the right family as model_type"
        config.require("embedding_size", (config.raw.get("hidden_size"),), factorised)
        return {}
