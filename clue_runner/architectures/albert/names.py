"""ALBERT's tensors: ours, Google's, Hugging Face's; and the tensors that are left out on purpose.

In: nothing. Out: the table. Names as in google-research/albert (modeling.py), in brightmart/albert_zh for the
other form, and in Hugging Face's AlbertModel. Knows nothing about files, values or libraries.
"""

# ruff: noqa: E501  (the table is read in columns)

from __future__ import annotations

from clue_runner.architectures.encoder_names import (
    BLOCK,
    EMBEDDINGS,
    MAP,
    MASKED_WORDS,
    STRANGERS,
    E,
    F,
    H,
    P,
    S,
    V,
    rules,
)
from clue_runner.architectures.name_table import Group, NameTable, Row, Rule, Stranger

# fmt: off
SHARED: tuple[Row, ...] = (
    ("attention/query/kernel",    "attention_1/self/query/kernel",     "attention.query.weight",      (H, H)),
    ("attention/query/bias",      "attention_1/self/query/bias",       "attention.query.bias",        (H,)),
    ("attention/key/kernel",      "attention_1/self/key/kernel",       "attention.key.weight",        (H, H)),
    ("attention/key/bias",        "attention_1/self/key/bias",         "attention.key.bias",          (H,)),
    ("attention/value/kernel",    "attention_1/self/value/kernel",     "attention.value.weight",      (H, H)),
    ("attention/value/bias",      "attention_1/self/value/bias",       "attention.value.bias",        (H,)),
    ("attention/output/kernel",   "attention_1/output/dense/kernel",   "attention.dense.weight",      (H, H)),
    ("attention/output/bias",     "attention_1/output/dense/bias",     "attention.dense.bias",        (H,)),
    ("attention/norm/scale",      "LayerNorm/gamma",                   "attention.LayerNorm.weight",  (H,)),
    ("attention/norm/offset",     "LayerNorm/beta",                    "attention.LayerNorm.bias",    (H,)),
    ("feed_forward/inner/kernel", "ffn_1/intermediate/dense/kernel",   "ffn.weight",                  (H, F)),
    ("feed_forward/inner/bias",   "ffn_1/intermediate/dense/bias",     "ffn.bias",                    (F,)),
    ("feed_forward/outer/kernel", "ffn_1/intermediate/output/dense/kernel", "ffn_output.weight",      (F, H)),
    ("feed_forward/outer/bias",   "ffn_1/intermediate/output/dense/bias",   "ffn_output.bias",        (H,)),
    ("feed_forward/norm/scale",   "LayerNorm_1/gamma",                 "full_layer_layer_norm.weight", (H,)),
    ("feed_forward/norm/offset",  "LayerNorm_1/beta",                  "full_layer_layer_norm.bias",  (H,)),
)
POOLER: tuple[Row, ...] = (
    ("kernel", "dense/kernel", "weight", (H, H)),
    ("bias",   "dense/bias",   "bias",   (H,)),
)
PREDICTIONS: tuple[Row, ...] = (
    ("transform/kernel",      "transform/dense/kernel",    "dense.weight",     (H, E)),
    ("transform/bias",        "transform/dense/bias",      "dense.bias",       (E,)),
    ("transform/norm/scale",  "transform/LayerNorm/gamma", "LayerNorm.weight", (E,)),
    ("transform/norm/offset", "transform/LayerNorm/beta",  "LayerNorm.bias",   (E,)),
    ("output/bias",           "output_bias",               "bias",             (V,)),
)
# The other form: only the token embeddings are narrow.
ZH_EMBEDDINGS: tuple[Row, ...] = (
    ("word_map", "word_embeddings_2", "", (E, H)),
    *((ours, google, "", axes if ours == "word" else tuple(H if axis == E else axis for axis in axes))
      for ours, google, _, axes in EMBEDDINGS),
)
ZH_BLOCK: tuple[Row, ...] = tuple((ours, google, "", axes) for ours, google, _, axes in BLOCK)
ZH_WORDS: tuple[Row, ...] = tuple(
    (ours, google, "", tuple(H if axis == E else axis for axis in axes)) for ours, google, _, axes in MASKED_WORDS
)
INNER = "bert/encoder/transformer/group_0/inner_group_0/"
INNER_FACE = "encoder.albert_layer_groups.0.albert_layers.0."

NAMES = NameTable(
    prefix="albert.",
    config_keys={V: "vocab_size", P: "max_position_embeddings", S: "type_vocab_size"},
    groups=(
        Group("embeddings", EMBEDDINGS, ("backbone/embeddings/", "bert/embeddings/", "embeddings.")),
        Group("zh_embeddings", ZH_EMBEDDINGS, ("backbone/embeddings/", "bert/embeddings/", "")),
        Group("map", MAP, ("backbone/embeddings/map/", "bert/encoder/embedding_hidden_mapping_in/",
                           "encoder.embedding_hidden_mapping_in.")),
        Group("block", SHARED, ("backbone/block/", INNER, INNER_FACE)),
        Group("zh_block", ZH_BLOCK, ("backbone/block/", "bert/encoder/layer_shared/", "")),
        Group("pooler", POOLER, ("backbone/pooler/", "bert/pooler/", "pooler."), part="pooler"),
        Group("masked_words", PREDICTIONS, ("head/masked_words/", "cls/predictions/", "predictions."),
              part="head", outside_prefix=True),
        Group("zh_masked_words", ZH_WORDS, ("head/masked_words/", "cls/predictions/", ""), part="head"),
    ),
    rules=(
        *rules("albert."),
        Rule("zh-mlm-head", "masked-word head of pre-training", head="zh_masked_words",
             google=("cls/predictions/",)),
        Rule("tied-output", "the token embeddings again, as the output layer of the masked-word head",
             hugging_face=("predictions.decoder.weight",), same_as="backbone/embeddings/word"),
        Rule("tied-bias", "the bias of that layer again",
             hugging_face=("predictions.decoder.bias",), same_as="head/masked_words/output/bias"),
        Rule("albert-mlm-head", "masked-word head of pre-training", head="masked_words",
             hugging_face=("predictions.",)),
        Rule("order-head", "head of pre-training that tells the order of sentences",
             hugging_face=("sop_classifier.",)),
    ),
    strangers=STRANGERS,
    trait=Stranger("ALBERT, whose blocks share their weights or whose embedding is factorised",
                   ("/layer_shared/", "/inner_group_0/", "albert_layer_groups.", "/word_embeddings_2",
                    "embedding_hidden_mapping_in"), "albert"),
)
# fmt: on
