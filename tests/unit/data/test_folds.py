"""Train without one of k parts: every record is left out exactly once, equal ones together."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from clue_runner.data.division import without_fold
from clue_runner.data.records import TextRecord

RECORDS = [
    TextRecord(number, (f"text {number % 900}",), str(number % 2), number + 1) for number in range(1000)
]


@pytest.mark.parametrize("count", [2, 5])
def test_every_record_is_left_out_once(count: int) -> None:
    kept = [without_fold(RECORDS, f"{part}/{count}") for part in range(count)]
    times = Counter(record.id for records in kept for record in records)
    assert times == dict.fromkeys(range(1000), count - 1)
    for records in kept:
        assert 0.9 * len(RECORDS) * (1 - 1 / count) < len(records) < 1.1 * len(RECORDS) * (1 - 1 / count)
        assert [record.id for record in records] == sorted(record.id for record in records)


def test_what_a_record_says_decides_and_not_where_it_stands() -> None:
    moved = [replace(record, id=record.id + 7, line=1) for record in RECORDS]
    left = [record.texts for record in without_fold(moved, "1/3")]
    assert left == [record.texts for record in without_fold(RECORDS, "1/3")]
    twice = {record.texts for record in RECORDS} - set(left)
    assert not twice & {record.texts for record in without_fold(RECORDS, "1/3")}
