"""ERNIE's tensors: ours and Hugging Face's; and the tensors that are left out on purpose.

In: nothing. Out: the table. PaddlePaddle's own files are in no layout that is read here.
Knows nothing about files, values or libraries.
"""

from __future__ import annotations

from clue_runner.architectures.encoder_names import (
    BLOCK,
    EMBEDDINGS,
    POOLER,
    STRANGERS,
    E,
    P,
    S,
    V,
    masked_words,
    of_hugging_face,
    rules,
)
from clue_runner.architectures.name_table import Group, NameTable, Stranger

TASK_TYPES = (("task_type", "", "task_type_embeddings.weight", ("task_types", E)),)
EMBEDDED = ("backbone/embeddings/", "", "embeddings.")

NAMES = NameTable(
    prefix="ernie.",
    config_keys={
        V: "vocab_size",
        P: "max_position_embeddings",
        S: "type_vocab_size",
        "task_types": "task_type_vocab_size",
    },
    groups=(
        Group("embeddings", of_hugging_face(EMBEDDINGS), EMBEDDED),
        Group("task_types", TASK_TYPES, EMBEDDED),
        Group("blocks", of_hugging_face(BLOCK), ("backbone/block_{i}/", "", "encoder.layer.{i}.")),
        Group("pooler", of_hugging_face(POOLER), ("backbone/pooler/", "", "pooler."), part="pooler"),
        masked_words(google=""),
    ),
    rules=rules("ernie."),
    strangers=STRANGERS,
    trait=Stranger("a table of task types, as in ERNIE", ("task_type_embeddings",), "ernie"),
)
