"""NEZHA's tensors: ours, Google's, Hugging Face's; and the tensors that are left out on purpose.

In: nothing. Out: the table. Huawei's TensorFlow checkpoints have BERT's names, without a table of positions.
Knows nothing about files, values or libraries.
"""

from __future__ import annotations

from clue_runner.architectures.encoder_names import (
    BLOCK,
    EMBEDDINGS,
    POOLER,
    STRANGERS,
    S,
    V,
    masked_words,
    rules,
)
from clue_runner.architectures.name_table import Group, NameTable, Rule, Stranger

FIXED = "encoder.layer.{i}.attention.self.relative_positions_encoding.positions_encoding"

NAMES = NameTable(
    prefix="nezha.",
    config_keys={V: "vocab_size", S: "type_vocab_size"},
    groups=(
        Group(
            "embeddings",
            tuple(row for row in EMBEDDINGS if row[0] != "position"),
            ("backbone/embeddings/", "bert/embeddings/", "embeddings."),
        ),
        Group("blocks", BLOCK, ("backbone/block_{i}/", "bert/encoder/layer_{i}/", "encoder.layer.{i}.")),
        Group("pooler", POOLER, ("backbone/pooler/", "bert/pooler/", "pooler."), part="pooler"),
        masked_words(),
    ),
    rules=(
        *rules("nezha."),
        Rule(
            "sines",
            "sines and cosines of distances, which are computed",
            hugging_face=(f"nezha.{FIXED}", FIXED),
        ),
    ),
    strangers=STRANGERS,
    trait=Stranger("relative positions, as in NEZHA", ("relative_positions_encoding", "nezha."), "nezha"),
)
