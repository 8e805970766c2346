"""DeBERTa-v2's tensors: ours and Hugging Face's; and the tensors that are left out on purpose.

In: nothing. Out: the table. Knows nothing about files, values or libraries.
"""

from __future__ import annotations

from clue_runner.architectures.encoder_names import (
    BLOCK,
    EMBEDDINGS,
    POOLER,
    STRANGERS,
    H,
    P,
    S,
    V,
    masked_words,
    of_hugging_face,
    of_nobody,
    rules,
)
from clue_runner.architectures.name_table import Group, NameTable, Row, Rule, Stranger

EMBEDDED = ("backbone/embeddings/", "", "embeddings.")
IN_BLOCK = ("backbone/block_{i}/", "", "encoder.layer.{i}.")
PROJECTIONS = {f".self.{name}.": f".self.{name}_proj." for name in ("query", "key", "value")}


def _renamed(row: Row) -> Row:
    """Return a row of a block with our names of the projections."""
    ours, _, face, axes = row
    for plain, own in PROJECTIONS.items():
        face = face.replace(plain, own)
    return ours, "", face, axes


def _distances(name: str) -> tuple[Row, ...]:
    """Return the rows of a distance projection."""
    theirs = f"attention.self.pos_{name}_proj"
    return (
        (f"attention/distance_{name}/kernel", "", f"{theirs}.weight", (H, H)),
        (f"attention/distance_{name}/bias", "", f"{theirs}.bias", (H,)),
    )


_BY_NAME = {row[0]: row for row in of_hugging_face(EMBEDDINGS)}

TABLE = tuple(_BY_NAME[name] for name in ("word", "norm/scale", "norm/offset"))

NAMES = NameTable(
    prefix="deberta.",
    config_keys={V: "vocab_size", P: "max_position_embeddings", S: "type_vocab_size"},
    groups=(
        Group("embeddings", TABLE, EMBEDDED),
        Group("positions", (_BY_NAME["position"],), EMBEDDED),
        Group("segments", (_BY_NAME["segment"],), EMBEDDED),
        Group(
            "distances",
            (("table", "", "rel_embeddings.weight", ("distances", H)),),
            ("backbone/distances/", "", "encoder."),
        ),
        Group(
            "distance_norm",
            (
                ("norm/scale", "", "LayerNorm.weight", (H,)),
                ("norm/offset", "", "LayerNorm.bias", (H,)),
            ),
            ("backbone/distances/", "", "encoder."),
        ),
        Group("blocks", tuple(_renamed(row) for row in BLOCK), IN_BLOCK),
        Group("distance_keys", _distances("key"), IN_BLOCK),
        Group("distance_queries", _distances("query"), IN_BLOCK),
        # Hugging Face's classifiers have one outside the encoder, with another activation.
        Group(
            "pooler",
            of_nobody(POOLER),
            ("backbone/pooler/", "", ""),
            part="pooler",
        ),
        masked_words(google=""),
    ),
    rules=(
        *rules("deberta."),
        Rule(
            "lm-head",
            "masked-word heads of pre-training in their later form",
            hugging_face=("lm_predictions.", "mask_predictions."),
        ),
        Rule("task-pooler", "a layer of an earlier fine-tuning", hugging_face=("pooler.dense.",)),
    ),
    strangers=STRANGERS,
    trait=Stranger(
        "relative positions, as in DeBERTa",
        ("rel_embeddings", "pos_proj", "pos_q_proj", "query_proj", "deberta."),
        "deberta-v2",
    ),
)
