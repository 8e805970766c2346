"""GPT2-ML's tensors: ours and those of the release, whose scope is Grover's ``newslm``.

In: nothing. Out: the table. A network of 48 blocks has 772 tensors. Knows nothing about files, values or
libraries. Kernels are (in, out) there too. No one publishes these weights in Hugging Face's layout: the
names here are those of the release with dots, and ``weight`` for kernels, tables and scales, as PyTorch says.
"""

from __future__ import annotations

from clue_runner.architectures.name_table import Group, NameTable, Row

V, P, H, F = "vocabulary", "positions", "hidden", "intermediate"
# Suffix of a name there -> its suffix in Hugging Face's layout.
FACE = {"kernel": "weight", "bias": "bias", "gamma": "weight", "beta": "bias"}


def _row(ours: str, theirs: str, *axes: str) -> Row:
    """Return a row of the table."""
    layer, _, kind = theirs.rpartition("/")
    face = f"{layer}.{FACE[kind]}" if layer else f"{theirs}.weight"
    return (ours, theirs, face, axes)


def _dense(ours: str, theirs: str, *axes: str) -> tuple[Row, Row]:
    """Return the rows of a dense layer."""
    return _row(f"{ours}/kernel", f"{theirs}/kernel", *axes), _row(f"{ours}/bias", f"{theirs}/bias", axes[1])


def _norm(ours: str, theirs: str) -> tuple[Row, Row]:
    """Return the rows of a layer norm."""
    return _row(f"{ours}/scale", f"{theirs}/gamma", H), _row(f"{ours}/offset", f"{theirs}/beta", H)


EMBEDDINGS: tuple[Row, ...] = (
    _row("word", "word_embed", V, H),
    _row("position", "pos_embed", P, H),
    *_norm("norm", "LayerNorm_embed_norm"),
)
BLOCK: tuple[Row, ...] = (
    *_dense("attention/query", "query_layer", H, H),
    *_dense("attention/key", "key_layer", H, H),
    *_dense("attention/value", "value_layer", H, H),
    *_dense("attention/output", "context_projection_layer", H, H),
    *_norm("attention/norm", "LayerNorm_mlp_ln0"),
    *_dense("feed_forward/inner", "intermediate", H, F),
    *_dense("feed_forward/outer", "output", F, H),
    *_norm("feed_forward/norm", "LayerNorm_mlp_ln1"),
)

NAMES = NameTable(
    config_keys={V: "vocab_size", P: "max_position_embeddings"},
    groups=(
        Group("embeddings", EMBEDDINGS, ("backbone/embeddings/", "newslm/embeddings/", "newslm.embeddings.")),
        Group("blocks", BLOCK, ("backbone/block_{i}/", "newslm/layer{i:02}/", "newslm.layer{i:02}.")),
    ),
)
