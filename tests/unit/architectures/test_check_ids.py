"""Ids outside their tables are refused before training, with the setting to change."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from clue_runner.architectures.check_ids import check_ids
from clue_runner.architectures.settings import make_shape
from clue_runner.errors import UsageError
from clue_runner.tokens.rows import Rows

BERT = make_shape("bert", max_positions=6, num_segments=1)


def rows(token_ids: list[list[int]], **more: Any) -> Rows:
    """Rows of ragged tokens; ``more`` are further token columns, or columns where they are arrays."""
    offsets = np.cumsum([0, *map(len, token_ids)]).astype(np.int64)

    def flat(values: list[list[int]]) -> Any:
        return np.array([one for row in values for one in row], np.int32)

    tokens = {"token_ids": flat(token_ids)}
    tokens |= {name: flat(values) for name, values in more.items() if isinstance(values, list)}
    columns = {name: values for name, values in more.items() if not isinstance(values, list)}
    index = np.arange(len(token_ids), dtype=np.int64)
    return Rows(offsets, tokens, columns, index, index)


GOOD = rows([[2, 5, 3], [2, 9]], segment_ids=[[0, 0, 0], [0, 0]])


@pytest.mark.parametrize(
    ("wrong", "parts"),
    [
        (
            rows([[2, 5, 3], [2, 9]], segment_ids=[[0, 0, 1], [0, 0]]),
            ["dev: 1 of 2 rows have segment_ids", "0 to 1", "0 to 0", "--set model.segments=zero"],
        ),
        (rows([[2, 10]], segment_ids=[[0, 0]]), ["token_ids", "2 to 10", "0 to 9", "vocab.txt"]),
        (rows([[2, -1], [1]], segment_ids=[[0, 0], [0]]), ["1 of 2 rows have token_ids", "-1 to 2"]),
        (
            rows([[2] * 7], segment_ids=[[0] * 7]),
            ["1 of 1 rows have more tokens than model.max_positions", "up to 7", "data.max_length=N"],
        ),
        (rows([[2]], segment_ids=[[0]], position_ids=[[6]]), ["position_ids", "6 to 6", "0 to 5"]),
    ],
)
def test_every_table_of_an_encoder(wrong: Rows, parts: list[str]) -> None:
    check_ids(BERT, 10, {"train": GOOD, "dev": GOOD})
    with pytest.raises(UsageError) as caught:
        check_ids(BERT, 10, {"train": GOOD, "dev": wrong})
    for part in parts:
        assert part in str(caught.value)
    assert len(caught.value.problems) == 1


def test_stretched_positions_reach_further() -> None:
    long = rows([[2] * 30], segment_ids=[[0] * 30])
    check_ids(make_shape("bert", max_positions=6, positions="hierarchical"), 10, {"train": long})


def test_columns_that_are_no_tokens_and_lookups_of_others() -> None:
    questions = rows([[2], [3]], question_ids=np.array([[1, 2], [1, 30]], np.int32))
    with pytest.raises(UsageError, match=r"1 of 2 rows have question_ids .*got 1 to 30 \(allowed: 0 to 9\)"):
        check_ids(make_shape("dgcnn"), 10, {"train": questions})
    words = rows([[2], [3]], word_ids=[[4], [0]])
    check_ids(make_shape("dgcnn"), 10, {"train": words}, {"word_ids": 5, "question_words": 5})
    with pytest.raises(UsageError, match="1 of 2 rows have word_ids .*got 0 to 4 .*allowed: 0 to 3"):
        check_ids(make_shape("dgcnn"), 10, {"train": words}, {"word_ids": 4, "question_words": 4})


def test_the_shape_decides_over_the_tokenizer_and_the_caller_over_the_advice() -> None:
    one = rows([[2]], segment_ids=[[1]])
    with pytest.raises(UsageError) as caught:
        check_ids(BERT, 10, {"dev": one}, {"segment_ids": 2}, advice="train again")
    assert [problem.fix for problem in caught.value.problems] == ["train again"]
    assert "0 to 0" in str(caught.value)


def test_all_columns_and_splits_come_at_once() -> None:
    wrong = rows([[2, 10]], segment_ids=[[0, 1]])
    with pytest.raises(UsageError) as caught:
        check_ids(BERT, 10, {"train": wrong, "dev": wrong, "test": GOOD})
    assert len(caught.value.problems) == 4
