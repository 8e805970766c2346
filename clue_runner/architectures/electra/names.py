"""ELECTRA's tensors: ours, Google's, Hugging Face's; and the tensors that are left out on purpose.

In: nothing. Out: the table. A TensorFlow checkpoint contains the generator and the discriminator.
Knows nothing about files, values or libraries.
"""

from __future__ import annotations

from clue_runner.architectures.encoder_names import (
    BLOCK,
    EMBEDDINGS,
    MAP,
    POOLER,
    STRANGERS,
    P,
    S,
    V,
    of_nobody,
    rules,
)
from clue_runner.architectures.name_table import Group, NameTable, Rule, Stranger

NAMES = NameTable(
    prefix="electra.",
    config_keys={V: "vocab_size", P: "max_position_embeddings", S: "type_vocab_size"},
    groups=(
        Group("embeddings", EMBEDDINGS, ("backbone/embeddings/", "electra/embeddings/", "embeddings.")),
        Group("map", MAP, ("backbone/embeddings/map/", "electra/embeddings_project/", "embeddings_project.")),
        Group("blocks", BLOCK, ("backbone/block_{i}/", "electra/encoder/layer_{i}/", "encoder.layer.{i}.")),
        Group("pooler", of_nobody(POOLER), ("backbone/pooler/", "", ""), part="pooler"),
    ),
    rules=(
        *rules("electra."),
        Rule(
            "discriminator-head",
            "head of pre-training that tells replaced words",
            google=("discriminator_predictions/",),
            hugging_face=("discriminator_predictions.",),
        ),
        Rule(
            "generator",
            "the network that replaces words, and its head",
            google=("generator/", "generator_predictions/", "generator_lm_head/"),
            hugging_face=("generator_predictions.", "generator_lm_head."),
        ),
    ),
    strangers=STRANGERS,
    trait=Stranger(
        "heads or layers of ELECTRA",
        ("discriminator_predictions", "generator_predictions", "electra/", "electra."),
        "electra",
    ),
)
