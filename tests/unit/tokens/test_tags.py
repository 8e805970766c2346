from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clue_runner.tokens.layouts.tags import (
    TokenSpan,
    best_tags,
    legal_steps,
    spans_to_tags,
    tag_count,
    tags_to_spans,
)


def test_neighbours_of_one_type_stay_two() -> None:
    spans = [TokenSpan(1, 1, 2), TokenSpan(1, 3, 3), TokenSpan(0, 4, 6)]
    tags, left_out = spans_to_tags(spans, 8)
    assert (tags.tolist(), left_out) == ([0, 3, 4, 3, 1, 2, 2, 0], 0)
    assert tags_to_spans(tags) == spans


def test_of_overlapping_spans_the_longest_stays() -> None:
    tags, left_out = spans_to_tags([TokenSpan(0, 0, 1), TokenSpan(2, 1, 4), TokenSpan(1, 4, 4)], 5)
    assert (tags.tolist(), left_out) == ([0, 5, 6, 6, 6], 2)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2), st.integers(1, 4)), max_size=8))
def test_spans_that_do_not_overlap_come_back(steps: list[tuple[int, int, int]]) -> None:
    spans, place = [], 0
    for kind, gap, size in steps:
        spans.append(TokenSpan(kind, place + gap, place + gap + size - 1))
        place += gap + size
    tags, left_out = spans_to_tags(spans, place + 1)
    assert left_out == 0 and tags_to_spans(tags) == spans


def test_a_sequence_that_is_not_legal_is_refused() -> None:
    with pytest.raises(ValueError, match="tag 2 at 1 follows 3"):
        tags_to_spans([3, 2])
    with pytest.raises(ValueError, match="tag 4 at 0 follows 0"):
        tags_to_spans([4])


def test_legal_steps() -> None:
    legal = legal_steps(tag_count(2))
    assert legal[:, [0, 1, 3]].all()  # outside and first tokens may follow anything
    assert np.flatnonzero(legal[:, 2]).tolist() == [1, 2]
    assert np.flatnonzero(legal[:, 4]).tolist() == [3, 4]


@pytest.mark.parametrize("chain", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_best_tags_equal_a_search_through_all_legal_sequences(seed: int, chain: bool) -> None:
    generator = np.random.default_rng(seed)
    scores = generator.normal(size=(4, 4, 5)).astype(np.float32)
    transitions, start, end = (generator.normal(size=shape).astype(np.float32) for shape in ((5, 5), 5, 5))
    counts = [4, 3, 1, 0]
    found = best_tags(scores, counts, transitions, start, end) if chain else best_tags(scores, counts)
    assert [len(tags) for tags in found] == counts

    def total(row: int, path: tuple[int, ...]) -> float:
        own = sum(float(scores[row, place, tag]) for place, tag in enumerate(path))
        if not chain:
            return own
        steps = sum(float(transitions[pair]) for pair in zip(path, path[1:], strict=False))
        return own + steps + float(start[path[0]]) + float(end[path[-1]])

    legal = legal_steps(5)
    for row, count in enumerate(counts[:3]):
        paths = [
            path
            for path in product(range(5), repeat=count)
            if all(legal[pair] for pair in zip((0, *path), path, strict=False))
        ]
        assert tuple(found[row].tolist()) == max(paths, key=lambda path: total(row, path))
