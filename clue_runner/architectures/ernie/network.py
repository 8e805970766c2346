"""ERNIE's encoder from its parts: BERT's, with one row of the task types in every token.

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
    tasks = {"task_type": (shape.num_task_types, shape.task_type)} if shape.num_task_types else {}
    embeddings = Embeddings(
        "backbone/embeddings",
        *shared,
        shape=shape,
        vocab_size=vocab_size,
        positions=LearnedPositions(shape.max_positions, shape.stretch),
        further=tasks,
    )
    blocks = [Block(f"backbone/block_{layer}", *shared, shape=shape) for layer in range(shape.num_layers)]
    return Backbone(*shared, shape=shape, embeddings=embeddings, blocks=blocks, pooler=pooler)
