"""BERT's encoder: the one that families share, without additions.

In: a shape, the size of the vocabulary, precision and seed. Out: a ``Backbone`` with random weights.
Knows nothing about checkpoints; they are loaded into it by name afterwards.
"""

from __future__ import annotations

from typing import Any

from clue_runner.architectures.encoder_network import build_encoder
from clue_runner.models.backbone import Backbone


def build(shape: Any, vocab_size: int, *, precision: str, seed: int, pooler: bool = True) -> Backbone:
    """Return the encoder; arguments as in ``Architecture.build``."""
    return build_encoder(shape, vocab_size, precision=precision, seed=seed, pooler=pooler)
