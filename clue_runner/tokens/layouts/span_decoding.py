"""Turns scores of spans or tags into spans of characters, a bounded number for each row.

In: a network's outputs for a batch, and the characters that its tokens cover. Out: scored spans.
Knows nothing about types' names, records or tensors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from clue_runner.tokens.layouts.tags import best_tags, tags_to_spans
from clue_runner.tokens.rows import Array

IntTable = NDArray[np.int64]


class RowSpans(NamedTuple):
    """The best spans of one row, and how many more it had.

    ``spans`` is (n, 3) int64 of type, first and last character (inclusive); ``scores`` (n,) float32.
    """

    spans: IntTable
    scores: NDArray[np.float32]
    left_out: int


def decode_spans(outputs: Mapping[str, Array], batch: Mapping[str, Array], most: int) -> list[RowSpans]:
    """Return the spans of each row that begin on characters which the row answers for.

    Args:
        outputs: ``span_scores`` (rows, types, length, length): those above 0 are spans, which may overlap; or
            ``tag_scores`` (rows, length, tags), perhaps with a chain's ``transitions``, ``start`` and
            ``end``: the best legal sequence is taken.
        batch: ``starts``, ``ends``, ``owned`` and ``lengths`` as ``span_windows`` makes them.
        most: maximum number of spans per row; those with the highest scores stay.
    """
    scored = _pointed(outputs["span_scores"]) if "span_scores" in outputs else _tagged(outputs, batch)
    starts, ends, owned = (np.asarray(batch[name], np.int64) for name in ("starts", "ends", "owned"))
    decoded = []
    for row, (tokens, scores) in enumerate(scored):
        first = starts[row, tokens[:, 1]]
        spans = np.stack([tokens[:, 0], first, ends[row, tokens[:, 2]] - 1], axis=1)
        own = (owned[row, 0] <= first) & (first < owned[row, 1])
        decoded.append(best_spans(spans[own], scores[own], most))
    return decoded


def best_spans(spans: IntTable, scores: NDArray[np.float32], most: int, left_out: int = 0) -> RowSpans:
    """Return the ``most`` spans with the highest scores, the earlier ones among equals, in their order."""
    if len(spans) <= most:
        return RowSpans(spans, scores, left_out)
    kept = np.sort(np.argsort(-scores, kind="stable")[:most])
    return RowSpans(spans[kept], scores[kept], left_out + len(spans) - most)


def join_spans(rows: Sequence[RowSpans], most: int) -> RowSpans:
    """Return the best spans of several rows of one text; their characters do not overlap."""
    if len(rows) == 1:
        return rows[0]
    spans, scores = np.concatenate([row.spans for row in rows]), np.concatenate([row.scores for row in rows])
    return best_spans(spans, scores, most, sum(row.left_out for row in rows))


def _pointed(span_scores: Array) -> list[tuple[IntTable, NDArray[np.float32]]]:
    """Return each row's (n, 3) spans of a score above 0 (type, first, last token), and their scores."""
    pointed = []
    for scores in np.asarray(span_scores, np.float32):
        tokens = np.argwhere(scores > 0)
        pointed.append((tokens, scores[tuple(tokens.T)]))
    return pointed


def _tagged(
    outputs: Mapping[str, Array], batch: Mapping[str, Array]
) -> list[tuple[IntTable, NDArray[np.float32]]]:
    """Return each row's (n, 3) spans of the best tags; [CLS] and [SEP] have none, and no span has a score."""
    chain = {
        name: np.asarray(outputs[name], np.float32)
        for name in ("transitions", "start", "end")
        if name in outputs
    }
    scores = np.asarray(outputs["tag_scores"], np.float32)[:, 1:]
    counts = np.maximum(np.asarray(batch["lengths"]).astype(np.int64) - 2, 0)
    rows = [tags_to_spans(tags) for tags in best_tags(scores, counts, **chain)]
    spans = [np.array(row, np.int64).reshape(-1, 3) + (0, 1, 1) for row in rows]
    return [(row, np.zeros(len(row), np.float32)) for row in spans]
