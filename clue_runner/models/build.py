"""From settings to a backbone.

In: model settings, vocabulary size, precision, seed. Out: a ``Backbone`` with random weights.
Knows nothing about checkpoints; they are loaded into it by name afterwards.
"""

from __future__ import annotations

from clue_runner.config.schema import ModelSettings
from clue_runner.models.backbone import Backbone

POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16", "mixed_bfloat16": "mixed_bfloat16"}


def build_backbone(
    model: ModelSettings, vocab_size: int, *, dtype_policy: str, seed: int, pooler: bool = True
) -> Backbone:
    """Return a backbone with random weights that are a function of ``seed`` alone.

    Args:
        model: shape and dropout rates.
        vocab_size: rows of the word table.
        dtype_policy: ``float32``, or ``bfloat16`` (compute type; weights stay float32).
        seed: source of the initial weights.
        pooler: build dense + tanh on the first token.
    """
    return Backbone(model, vocab_size, dtype_policy=POLICIES[dtype_policy], seed=seed, pooler=pooler)
