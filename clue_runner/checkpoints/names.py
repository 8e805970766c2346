"""The one table of tensor names: ours, Google's, Hugging Face's; and the tensors left out on purpose.

In: a number of blocks, or a tensor's name. Out: the entries of the table, or the rule that leaves it out.
Names as in the BERT release (modeling.py) and in Hugging Face's BertModel. Nothing is matched by suffix.
Knows nothing about files, values or libraries.
"""

# ruff: noqa: E501  (the table is read in columns)

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

Layout = Literal["google", "huggingface", "native"]

# Axes, in our order, which is Google's too: a kernel is (in, out). Hugging Face keeps kernels as (out, in).
V, P, S, H, F = "vocabulary", "positions", "segments", "hidden", "intermediate"

# fmt: off
EMBEDDINGS = (
    ("backbone/embeddings/word",         "bert/embeddings/word_embeddings",       "embeddings.word_embeddings.weight",       (V, H)),
    ("backbone/embeddings/position",     "bert/embeddings/position_embeddings",   "embeddings.position_embeddings.weight",   (P, H)),
    ("backbone/embeddings/segment",      "bert/embeddings/token_type_embeddings", "embeddings.token_type_embeddings.weight", (S, H)),
    ("backbone/embeddings/norm/scale",   "bert/embeddings/LayerNorm/gamma",       "embeddings.LayerNorm.weight",             (H,)),
    ("backbone/embeddings/norm/offset",  "bert/embeddings/LayerNorm/beta",        "embeddings.LayerNorm.bias",               (H,)),
)

BLOCK_PREFIX = ("backbone/block_{i}/", "bert/encoder/layer_{i}/", "encoder.layer.{i}.")
BLOCK = (
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

POOLER = (
    ("backbone/pooler/kernel",    "bert/pooler/dense/kernel",         "pooler.dense.weight",               (H, H)),
    ("backbone/pooler/bias",      "bert/pooler/dense/bias",           "pooler.dense.bias",                 (H,)),
)

# Hugging Face files of 2019 spell the parts of a layer norm as TensorFlow does.
OLD_NORM = {".LayerNorm.weight": ".LayerNorm.gamma", ".LayerNorm.bias": ".LayerNorm.beta"}
# fmt: on


@dataclass(frozen=True)
class Entry:
    """One tensor under its names, the block's number filled in.

    Args:
        ours: name in our states, stable for ever.
        google: name in a TensorFlow checkpoint of the BERT release.
        hugging_face: name without the ``bert.`` prefix.
        axes: axes in our order.
    """

    ours: str
    google: str
    hugging_face: str
    axes: tuple[str, ...]

    def transposed(self, layout: Layout) -> bool:
        """Return whether ``layout`` keeps this tensor with its two axes swapped."""
        return layout == "huggingface" and self.ours.endswith("/kernel")

    def spellings(self, layout: Layout, prefix: str = "") -> list[str]:
        """Return the names under which ``layout`` may store the tensor, today's first."""
        if layout == "native":
            return [self.ours]
        if layout == "google":
            return [self.google]
        old = [
            self.hugging_face.replace(new, old) for new, old in OLD_NORM.items() if new in self.hugging_face
        ]
        return [prefix + name for name in (self.hugging_face, *old)]


@dataclass(frozen=True)
class Rule:
    """Tensors left out on purpose: exact names, or every name below a trailing ``/`` or ``.``."""

    name: str
    why: str
    google: tuple[str, ...] = ()
    hugging_face: tuple[str, ...] = ()


# fmt: off
RULES = (
    Rule("mlm-head", "masked-word head of pre-training",
         google=("cls/predictions/",), hugging_face=("cls.predictions.",)),
    Rule("nsp-head", "sentence-pair head of pre-training",
         google=("cls/seq_relationship/",), hugging_face=("cls.seq_relationship.",)),
    Rule("task-head", "output layer of an earlier fine-tuning",
         google=("cls/squad/", "output_weights", "output_bias"), hugging_face=("classifier.", "qa_outputs.")),
    Rule("step-counter", "step counter of an earlier training",
         google=("global_step",)),
    Rule("position-ids", "the numbers 0, 1, 2, ... that old Hugging Face files store",
         hugging_face=("bert.embeddings.position_ids", "embeddings.position_ids")),
)
# fmt: on

# TensorFlow optimizers keep their slots below a variable's own name; only below a name that is itself known.
OPTIMIZER_SLOTS = ("adam_m", "adam_v", "AdamWeightDecayOptimizer", "AdamWeightDecayOptimizer_1")
OPTIMIZER_RULE = "optimizer-slot"
NO_POOLER_RULE = "no-pooler"

# Parts of names that only ALBERT has: one shared block, or a factorised embedding.
ALBERT_MARKS = ("/layer_shared/", "/inner_group_0/", "albert_layer_groups.", "/word_embeddings_2")


def entries(num_layers: int) -> Iterator[Entry]:
    """Yield every entry of a backbone with ``num_layers`` blocks, pooler last."""
    for ours, google, hugging_face, axes in EMBEDDINGS:
        yield Entry(ours, google, hugging_face, axes)
    for block in range(num_layers):
        prefixes = [prefix.replace("{i}", str(block)) for prefix in BLOCK_PREFIX]
        for ours, google, hugging_face, axes in BLOCK:
            yield Entry(prefixes[0] + ours, prefixes[1] + google, prefixes[2] + hugging_face, axes)
    yield from pooler_entries()


def pooler_entries() -> list[Entry]:
    """Return the entries of the pooler, the one part that a checkpoint may lack as a whole."""
    return [Entry(ours, google, hugging_face, axes) for ours, google, hugging_face, axes in POOLER]


def rule_for(name: str, layout: Layout) -> str | None:
    """Return the name of the rule that leaves ``name`` out, or None."""
    if layout == "native":
        # Our own files hold the task's head beside the backbone.
        return "task-head" if name.startswith("head/") else None
    for rule in RULES:
        for pattern in rule.google if layout == "google" else rule.hugging_face:
            if name == pattern or (pattern[-1] in "/." and name.startswith(pattern)):
                return rule.name
    return None


def slot_variable(name: str) -> str | None:
    """Return the variable whose optimizer slot ``name`` is by its last part, or None."""
    variable, _, slot = name.rpartition("/")
    return variable if slot in OPTIMIZER_SLOTS else None


def is_albert(names: Iterable[str]) -> bool:
    """Return whether the names are ALBERT's."""
    return any(mark in name for name in names for mark in ALBERT_MARKS)
