"""The tensors that encoders share, with the names of BERT's release and of Hugging Face.

In: nothing. Out: rows, rules and networks of no family here; a family's ``names.py`` uses what it needs.
Names as in the BERT release (modeling.py) and in Hugging Face's BertModel and BertForPreTraining. Knows nothing
about individual families, files or values.
"""

# ruff: noqa: E501  (the table is read in columns)

from __future__ import annotations

from clue_runner.architectures.name_table import Group, Row, Rule, Stranger

V, P, S, E, H, F = "vocabulary", "positions", "segments", "embedding", "hidden", "intermediate"

# fmt: off
EMBEDDINGS: tuple[Row, ...] = (
    ("word",         "word_embeddings",       "word_embeddings.weight",       (V, E)),
    ("position",     "position_embeddings",   "position_embeddings.weight",   (P, E)),
    ("segment",      "token_type_embeddings", "token_type_embeddings.weight", (S, E)),
    ("norm/scale",   "LayerNorm/gamma",       "LayerNorm.weight",             (E,)),
    ("norm/offset",  "LayerNorm/beta",        "LayerNorm.bias",               (E,)),
)
BLOCK: tuple[Row, ...] = (
    ("attention/query/kernel",    "attention/self/query/kernel",      "attention.self.query.weight",       (H, H)),
    ("attention/query/bias",      "attention/self/query/bias",        "attention.self.query.bias",         (H,)),
    ("attention/key/kernel",      "attention/self/key/kernel",        "attention.self.key.weight",         (H, H)),
    ("attention/key/bias",        "attention/self/key/bias",          "attention.self.key.bias",           (H,)),
    ("attention/value/kernel",    "attention/self/value/kernel",      "attention.self.value.weight",       (H, H)),
    ("attention/value/bias",      "attention/self/value/bias",        "attention.self.value.bias",         (H,)),
    ("attention/output/kernel",   "attention/output/dense/kernel",    "attention.output.dense.weight",     (H, H)),
    ("attention/output/bias",     "attention/output/dense/bias",      "attention.output.dense.bias",       (H,)),
    ("attention/norm/scale",      "attention/output/LayerNorm/gamma", "attention.output.LayerNorm.weight", (H,)),
    ("attention/norm/offset",     "attention/output/LayerNorm/beta",  "attention.output.LayerNorm.bias",   (H,)),
    ("feed_forward/inner/kernel", "intermediate/dense/kernel",        "intermediate.dense.weight",         (H, F)),
    ("feed_forward/inner/bias",   "intermediate/dense/bias",          "intermediate.dense.bias",           (F,)),
    ("feed_forward/outer/kernel", "output/dense/kernel",              "output.dense.weight",               (F, H)),
    ("feed_forward/outer/bias",   "output/dense/bias",                "output.dense.bias",                 (H,)),
    ("feed_forward/norm/scale",   "output/LayerNorm/gamma",           "output.LayerNorm.weight",           (H,)),
    ("feed_forward/norm/offset",  "output/LayerNorm/beta",            "output.LayerNorm.bias",             (H,)),
)
POOLER: tuple[Row, ...] = (
    ("kernel", "dense/kernel", "dense.weight", (H, H)),
    ("bias",   "dense/bias",   "dense.bias",   (H,)),
)
# If the embedding is narrower than the blocks.
MAP: tuple[Row, ...] = (
    ("kernel", "kernel", "weight", (E, H)),
    ("bias",   "bias",   "bias",   (H,)),
)
# The output matrix is the token embeddings; files that store it again are left out by a rule.
MASKED_WORDS: tuple[Row, ...] = (
    ("transform/kernel",      "transform/dense/kernel",    "transform.dense.weight",     (H, E)),
    ("transform/bias",        "transform/dense/bias",      "transform.dense.bias",       (E,)),
    ("transform/norm/scale",  "transform/LayerNorm/gamma", "transform.LayerNorm.weight", (E,)),
    ("transform/norm/offset", "transform/LayerNorm/beta",  "transform.LayerNorm.bias",   (E,)),
    ("output/bias",           "output_bias",               "bias",                       (V,)),
)



def of_hugging_face(rows: tuple[Row, ...]) -> tuple[Row, ...]:
    """Return rows of tensors that no TensorFlow checkpoint contains."""
    return tuple((ours, "", face, axes) for ours, _, face, axes in rows)


def of_nobody(rows: tuple[Row, ...]) -> tuple[Row, ...]:
    """Return rows of tensors that publishers do not store: a pooler that a task initialises."""
    return tuple((ours, "", "", axes) for ours, _, _, axes in rows)


def masked_words(*, google: str = "cls/predictions/") -> Group:
    """Return the masked-word head; ``google`` empty: no TensorFlow checkpoint contains it."""
    rows = MASKED_WORDS if google else of_hugging_face(MASKED_WORDS)
    places = ("head/masked_words/", google, "cls.predictions.")
    return Group("masked_words", rows, places, part="head", outside_prefix=True)


def rules(prefix: str, *, google: tuple[str, ...] = (), hugging_face: tuple[str, ...] = ()) -> tuple[Rule, ...]:
    """Return what the files of any family may contain besides the network: heads, and constants.

    Args:
        prefix: that of the family's names in Hugging Face's files.
        google: further heads of the family.
        hugging_face: the same in Hugging Face's files.
    """
    return (
        Rule("mlm-head", "masked-word head of pre-training", head="masked_words",
             google=("cls/predictions/",), hugging_face=("cls.predictions.",)),
        Rule("tied-output", "the token embeddings again, as the output layer of the masked-word head",
             hugging_face=("cls.predictions.decoder.weight",), same_as="backbone/embeddings/word"),
        Rule("tied-bias", "the bias of that layer again",
             hugging_face=("cls.predictions.decoder.bias",), same_as="head/masked_words/output/bias"),
        Rule("nsp-head", "sentence-pair head of pre-training",
             google=("cls/seq_relationship/",), hugging_face=("cls.seq_relationship.",)),
        Rule("task-head", "output layer of an earlier fine-tuning",
             google=("cls/squad/", "output_weights", "output_bias", *google),
             hugging_face=("classifier.", "qa_outputs.", *hugging_face)),
        Rule("position-ids", "the numbers 0, 1, 2, ... that old Hugging Face files store",
             hugging_face=(f"{prefix}embeddings.position_ids", "embeddings.position_ids")),
        Rule("segment-ids", "a row of zeros that Hugging Face files may store",
             hugging_face=(f"{prefix}embeddings.token_type_ids", "embeddings.token_type_ids")),
    )


STRANGERS = (
    Stranger("relative positions (as in T5, or of Hugging Face's relative_key)",
             ("relative_attention_bias", "distance_embedding")),
    Stranger("rotary positions of a form that no family here has", ("rotary_emb", "inv_freq")),
    Stranger("a decoder with attention to another text", ("crossattention",)),
)
# fmt: on
