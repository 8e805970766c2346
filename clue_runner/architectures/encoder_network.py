"""The encoder that families with BERT's blocks share.

In: a shape, the size of the vocabulary, precision and seed. Out: a ``Backbone`` with random weights.
Knows nothing about individual families or checkpoints, which are loaded into it by name afterwards.
"""

from __future__ import annotations

from typing import Any

from clue_runner.models.backbone import Backbone
from clue_runner.models.embeddings import Embeddings
from clue_runner.models.part import POLICIES
from clue_runner.models.positions import LearnedPositions
from clue_runner.models.transformer import Block


def build_encoder(
    shape: Any,
    vocab_size: int,
    *,
    precision: str,
    seed: int,
    pooler: bool = True,
    one_block: bool = False,
    **embedding: Any,
) -> Backbone:
    """Return the encoder.

    Args:
        shape: of the family.
        vocab_size: rows of the token embeddings.
        precision: as in ``Architecture.build``.
        seed: as there.
        pooler: as there.
        one_block: every layer uses the same block.
        embedding: further arguments of the family's ``Embeddings``.
    """
    shared = (seed, POLICIES[precision])
    embeddings = Embeddings(
        "backbone/embeddings",
        *shared,
        shape=shape,
        vocab_size=vocab_size,
        positions=LearnedPositions(shape.max_positions, shape.stretch),
        **embedding,
    )
    if one_block:
        blocks = [Block("backbone/block", *shared, shape=shape)] * shape.num_layers
    else:
        blocks = [Block(f"backbone/block_{layer}", *shared, shape=shape) for layer in range(shape.num_layers)]
    return Backbone(*shared, shape=shape, embeddings=embeddings, blocks=blocks, pooler=pooler)
