"""Rows refuse arrays that do not fit together, and can be taken apart."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from clue_runner.tokens.rows import GoldAnswers, Rows


def rows() -> Rows:
    return Rows(
        offsets=np.array([0, 2, 3, 6, 7]),
        tokens={"token_ids": np.arange(7, dtype=np.int32)},
        columns={"label": np.array([5, 6, 7, 8], np.int32)},
        record=np.array([0, 0, 1, 3]),
        group=np.array([0, 0, 1, 4]),
        notes={"cut to 3 tokens": 2},
        host_columns=frozenset({"label"}),
        gold=GoldAnswers(4, 1),
    )


def test_lengths_and_groups() -> None:
    assert rows().lengths.tolist() == [2, 1, 3, 1]
    assert rows().group_starts.tolist() == [0, 2, 3, 4]
    assert rows().group_lengths.tolist() == [2, 3, 1]
    assert rows().largest_group == 2


def test_row_is_always_a_host_column() -> None:
    assert replace(rows(), host_columns=frozenset()).host_columns == {"row"}
    assert rows().host_columns == {"row", "label"}


def test_the_share_of_gold_answers_lost() -> None:
    assert rows().gold.lost_share == 0.25
    assert GoldAnswers().lost_share == 0.0
    with pytest.raises(ValueError, match="5 of 4"):
        GoldAnswers(4, 5)


def test_take() -> None:
    part = rows().take(np.array([0, 2]))
    assert part.offsets.tolist() == [0, 2, 5]
    assert part.tokens["token_ids"].tolist() == [0, 1, 3, 4, 5]
    assert part.columns["label"].tolist() == [5, 7]
    assert part.record.tolist() == [0, 1]
    assert (part.notes, part.host_columns, part.gold) == (rows().notes, {"row", "label"}, GoldAnswers(4, 1))
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
        ({"host_columns": frozenset({"starts"})}, "do not exist: starts"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(rows(), **changes)
