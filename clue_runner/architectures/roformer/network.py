"""RoFormer's encoder from its parts: queries and keys are rotated by the positions of their tokens.

In: a shape, the size of the vocabulary, precision and seed. Out: a ``Backbone`` with random weights.
Knows nothing about checkpoints; they are loaded into it by name afterwards.
"""

from __future__ import annotations

from typing import Any

from clue_runner.models.attention import SelfAttention
from clue_runner.models.backbone import Backbone
from clue_runner.models.embeddings import Embeddings
from clue_runner.models.fixed_positions import RotaryPositions
from clue_runner.models.part import POLICIES
from clue_runner.models.transformer import Block


def build(shape: Any, vocab_size: int, *, precision: str, seed: int, pooler: bool = True) -> Backbone:
    """Return the encoder; arguments as in ``Architecture.build``."""
    shared = (seed, POLICIES[precision])
    bare, positions = shape.version == "2", RotaryPositions()
    embeddings = Embeddings(
        "backbone/embeddings",
        *shared,
        shape=shape,
        vocab_size=vocab_size,
        positions=positions,
        bare=bare,
    )
    blocks = []
    for layer in range(shape.num_layers):
        name = f"backbone/block_{layer}"
        attention = SelfAttention(
            f"{name}/attention", *shared, shape=shape, positions=positions, bias=not bare
        )
        blocks.append(Block(name, *shared, shape=shape, attention=attention, bare=bare))
    return Backbone(*shared, shape=shape, embeddings=embeddings, blocks=blocks, pooler=pooler)
