"""BERT's tensors: ours, Google's, Hugging Face's; and the tensors that are left out on purpose.

In: nothing. Out: the table. Knows nothing about files, values or libraries.
"""

from __future__ import annotations

from clue_runner.architectures.encoder_names import (
    BLOCK,
    EMBEDDINGS,
    POOLER,
    STRANGERS,
    P,
    S,
    V,
    masked_words,
    rules,
)
from clue_runner.architectures.name_table import Group, NameTable

NAMES = NameTable(
    prefix="bert.",
    config_keys={V: "vocab_size", P: "max_position_embeddings", S: "type_vocab_size"},
    groups=(
        Group("embeddings", EMBEDDINGS, ("backbone/embeddings/", "bert/embeddings/", "embeddings.")),
        Group("blocks", BLOCK, ("backbone/block_{i}/", "bert/encoder/layer_{i}/", "encoder.layer.{i}.")),
        Group("pooler", POOLER, ("backbone/pooler/", "bert/pooler/", "pooler."), part="pooler"),
        masked_words(),
    ),
    rules=rules("bert."),
    strangers=STRANGERS,
)
