"""Rows refuse arrays that do not fit together, and can be taken apart."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from clue_runner.tokens.rows import Rows


def rows() -> Rows:
    return Rows(
        offsets=np.array([0, 2, 3, 6, 7]),
        tokens={"token_ids": np.arange(7, dtype=np.int32)},
        columns={"label": np.array([5, 6, 7, 8], np.int32)},
        record=np.array([0, 0, 1, 3]),
        group=np.array([0, 0, 1, 4]),
    )


def test_lengths_and_groups() -> None:
    assert rows().lengths.tolist() == [2, 1, 3, 1]
    assert rows().group_starts.tolist() == [0, 2, 3, 4]
    assert rows().group_lengths.tolist() == [2, 3, 1]
    assert rows().largest_group == 2


def test_take() -> None:
    part = rows().take(np.array([0, 2]))
    assert part.offsets.tolist() == [0, 2, 5]
    assert part.tokens["token_ids"].tolist() == [0, 1, 3, 4, 5]
    assert part.columns["label"].tolist() == [5, 7]
    assert part.record.tolist() == [0, 1]
    none = rows().take(np.array([], np.int64))
    assert len(none) == 0
    assert none.group_starts.tolist() == [0]
    assert none.largest_group == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"offsets": np.array([1, 2, 3, 6, 7])}, "begin with 0"),
        ({"offsets": np.array([0, 2, 2, 6, 7])}, "at least one token"),
        ({"tokens": {"token_ids": np.arange(6)}}, "token_ids"),
        ({"columns": {"label": np.arange(3)}}, "label"),
        ({"record": np.arange(5)}, "record"),
        ({"group": np.array([0, 1, 0, 1])}, "non-decreasing"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(rows(), **changes)
