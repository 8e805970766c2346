"""The reader's tensors; no other program stores them, so there is one column of names.

In: nothing. Out: the table. Knows nothing about files, values or libraries.
A run with word vectors has a projection of them; its axis ``vector`` has their size.
"""

from __future__ import annotations

from clue_runner.architectures.dgcnn.shape import PASSAGE_RATES, QUESTION_RATES
from clue_runner.architectures.name_table import Group, NameTable, Row

V, W, D, K, ONE = "vocabulary", "width", "double", "kernel", "one"
WORDS = "words"  # the group of the word-vector projection


def _row(name: str, *axes: str) -> Row:
    """Return a row for which other programs have no name."""
    return (name, "", "", axes)


def _side(name: str, dilations: tuple[int, ...], pool: str) -> Group:
    """Return the convolutions of the question or the passage, and the pooling over them."""
    rows = [
        row
        for place in range(len(dilations))
        for row in (_row(f"block_{place}/kernel", K, W, D), _row(f"block_{place}/bias", D))
    ]
    rows += [_row("pool/inner/kernel", pool, pool), _row("pool/outer/kernel", pool, ONE)]
    return Group(name, rows, (f"reader/{name}/", "", ""))


TAGGERS = [
    row
    for name in ("gate", "start", "end")
    for row in (_row(f"{name}/kernel", D, ONE), _row(f"{name}/bias", ONE))
]

NAMES = NameTable(
    groups=(
        Group("embeddings", [_row("character", V, W)], ("reader/embeddings/", "", "")),
        Group(WORDS, [_row("word/kernel", "vector", W)], ("reader/embeddings/", "", ""), part="optional"),
        _side("question", QUESTION_RATES, W),
        _side("passage", PASSAGE_RATES, D),
        Group("head", [_row("fuse/kernel", D, W), *TAGGERS], ("head/", "", "")),
    ),
)
