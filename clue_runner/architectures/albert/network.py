"""ALBERT's encoder from its parts: one block, called once a layer.

In: a shape, the size of the vocabulary, precision and seed. Out: a ``Backbone`` with random weights.
Knows nothing about checkpoints; they are loaded into it by name afterwards.
"""

from __future__ import annotations

from typing import Any

from clue_runner.models.backbone import Backbone
from clue_runner.models.embeddings import Embeddings
from clue_runner.models.part import POLICIES
from clue_runner.models.positions import LearnedPositions
from clue_runner.models.transformer import Block


def build(shape: Any, vocab_size: int, *, precision: str, seed: int, pooler: bool = True) -> Backbone:
    """Return the encoder; arguments as in ``Architecture.build``."""
    shared = (seed, POLICIES[precision])
    embeddings = Embeddings(
        "backbone/embeddings",
        *shared,
        shape=shape,
        vocab_size=vocab_size,
        positions=LearnedPositions(shape.max_positions, shape.stretch),
        widened=shape.widened,
    )
    blocks = [Block("backbone/block", *shared, shape=shape)] * shape.num_layers
    return Backbone(*shared, shape=shape, embeddings=embeddings, blocks=blocks, pooler=pooler)
