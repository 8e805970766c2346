"""Spans of characters from scores: owned ones, the best of them, in their order."""

from __future__ import annotations

from typing import Any

import numpy as np

from clue_runner.tokens.layouts.span_decoding import RowSpans, decode_spans, join_spans

LENGTH = 6  # [CLS], four characters, [SEP]


def batch_of(*owned: tuple[int, int]) -> dict[str, Any]:
    """Rows of four tokens, each of two characters."""
    rows = len(owned)
    return {
        "starts": np.tile(np.array([-1, 0, 2, 4, 6, -1], np.int32), (rows, 1)),
        "ends": np.tile(np.array([-1, 2, 4, 6, 8, -1], np.int32), (rows, 1)),
        "owned": np.array(owned, np.int32),
        "lengths": np.full(rows, LENGTH, np.int32),
    }


def scores_of(*spans: tuple[int, int, int, int, float]) -> np.ndarray[Any, Any]:
    """Scores of (row, type, first, last, score); all others are below 0."""
    scores = np.full((2, 2, LENGTH, LENGTH), -1.0, np.float32)
    for row, kind, first, last, score in spans:
        scores[row, kind, first, last] = score
    return scores


def test_spans_above_0_that_begin_on_owned_characters() -> None:
    scores = scores_of((0, 1, 1, 2, 0.5), (0, 0, 3, 4, 2.0), (0, 0, 4, 4, 0.0), (1, 0, 1, 1, 1.0))
    first, second = decode_spans({"span_scores": scores}, batch_of((0, 4), (2, 8)), 9)
    assert first.spans.tolist() == [[1, 0, 3]] and first.scores.tolist() == [0.5] and first.left_out == 0
    assert second.spans.tolist() == []
    (whole, _) = decode_spans({"span_scores": scores}, batch_of((0, 8), (0, 8)), 9)
    assert whole.spans.tolist() == [[0, 4, 7], [1, 0, 3]]


def test_the_best_of_too_many_stay_in_their_order_and_of_equals_the_earlier() -> None:
    spans = [(0, 0, 1, 1, 1.0), (0, 0, 2, 2, 3.0), (0, 0, 3, 3, 1.0), (0, 1, 1, 4, 2.0), (0, 1, 4, 4, 1.0)]
    (row, _) = decode_spans({"span_scores": scores_of(*spans)}, batch_of((0, 8), (0, 8)), 3)
    assert row.spans.tolist() == [[0, 0, 1], [0, 2, 3], [1, 0, 7]] and row.left_out == 2


def test_windows_of_a_text_are_limited_together() -> None:
    def row(*scores: float, left_out: int = 0) -> RowSpans:
        spans = np.array([[0, place, place] for place in range(len(scores))], np.int64).reshape(-1, 3)
        return RowSpans(spans, np.array(scores, np.float32), left_out)

    joined = join_spans([row(1.0, 5.0, left_out=4), row(2.0, 0.5, 3.0)], 3)
    assert joined.scores.tolist() == [5.0, 2.0, 3.0] and joined.left_out == 6
    assert join_spans([row(1.0), row()], 3).left_out == 0


def test_tags_give_spans_without_scores() -> None:
    tags = np.zeros((1, LENGTH, 5), np.float32)
    for place, tag in enumerate((0, 1, 2, 0, 3, 0)):
        tags[0, place, tag] = 1
    (row,) = decode_spans({"tag_scores": tags}, batch_of((0, 8)), 9)
    assert row.spans.tolist() == [[0, 0, 3], [1, 6, 7]] and row.scores.tolist() == [0.0, 0.0]
    (cut,) = decode_spans({"tag_scores": tags}, batch_of((0, 8)), 1)
    assert cut.spans.tolist() == [[0, 0, 3]] and cut.left_out == 1
