"""RoFormer's tensors: ours, bert4keras's, Hugging Face's; and the tensors that are left out on purpose.

In: nothing. Out: the table. bert4keras stores both versions under BERT's names, the second without what it
does not have. Knows nothing about files, values or libraries.
"""

from __future__ import annotations

from clue_runner.architectures.encoder_names import (
    BLOCK,
    EMBEDDINGS,
    MAP,
    POOLER,
    STRANGERS,
    S,
    V,
    masked_words,
    rules,
)
from clue_runner.architectures.name_table import Group, NameTable, Rule, Stranger

EMBEDDED = ("backbone/embeddings/", "bert/embeddings/", "embeddings.")
MAPPED = ("backbone/embeddings/map/", "bert/encoder/embedding_hidden_mapping_in/", "embeddings_project.")
IN_BLOCK = ("backbone/block_{i}/", "bert/encoder/layer_{i}/", "encoder.layer.{i}.")
TABLES = tuple(row for row in EMBEDDINGS if row[0] in {"word", "segment"})
NORM = tuple(row for row in EMBEDDINGS if row[0].startswith("norm/"))
KERNELS = tuple(row for row in BLOCK if row[0].endswith("/kernel"))

NAMES = NameTable(
    prefix="roformer.",
    config_keys={V: "vocab_size", S: "type_vocab_size"},
    groups=(
        Group("embeddings", TABLES, EMBEDDED),
        Group("norm", NORM, EMBEDDED),
        Group("map", MAP[:1], MAPPED),
        Group("map_bias", MAP[1:], MAPPED),
        Group("blocks", BLOCK, IN_BLOCK),
        Group("bare_blocks", KERNELS, IN_BLOCK),
        Group("pooler", POOLER, ("backbone/pooler/", "bert/pooler/", "pooler."), part="pooler"),
        masked_words(),
    ),
    rules=(
        *rules("roformer."),
        Rule(
            "sines",
            "sines and cosines of places, which are computed",
            hugging_face=("roformer.encoder.embed_positions.weight", "encoder.embed_positions.weight"),
        ),
    ),
    strangers=STRANGERS,
    trait=Stranger("rotary positions, as in RoFormer", ("embed_positions", "roformer."), "roformer"),
)
