"""Overlapping windows."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clue_runner.tokens.layouts.windows import windows


def test_hand_cases() -> None:
    assert len(windows(1000, 489, 128)) == 5
    assert windows(1000, 489, 128)[-1] == (512, 1000)
    assert windows(5, 5, 2) == [(0, 5)]
    assert windows(6, 5, 2) == [(0, 5), (2, 6)]
    assert windows(0, 5, 2) == [(0, 0)]


@pytest.mark.parametrize(("size", "stride"), [(5, 0), (5, 6), (0, 0)])
def test_strides_that_lose_items_are_refused(size: int, stride: int) -> None:
    with pytest.raises(ValueError, match="stride"):
        windows(10, size, stride)


@given(st.integers(0, 400), st.integers(1, 60), st.data())
def test_windows_cover_everything_and_none_is_spare(count: int, size: int, data: st.DataObject) -> None:
    stride = data.draw(st.integers(1, size))
    borders = windows(count, size, stride)
    assert [start for start, _ in borders] == [index * stride for index in range(len(borders))]
    assert {item for start, end in borders for item in range(start, end)} == set(range(count))
    assert all(end - start == size for start, end in borders[:-1])
    assert borders[-1][1] == count
    assert all(end < count for _, end in borders[:-1])
