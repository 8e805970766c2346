"""CLUENER's three scores: they differ exactly where their definitions do."""

from __future__ import annotations

import pytest

from clue_runner.data.records import Entity
from clue_runner.metrics.entities import score_entities

TYPES = ["name", "address", "book"]


def entity(name: str, start: int, surface: str) -> Entity:
    return Entity(name, start, start + len(surface) - 1, surface)


def test_perfect_prediction_scores_100_three_times() -> None:
    gold = [[entity("name", 0, "李四")], [entity("address", 2, "北京"), entity("book", 5, "史记")]]
    scores = score_entities(gold, gold, TYPES)
    assert (scores.site_macro_f1, scores.strict_macro_f1, scores.strict_micro_f1) == (100.0, 100.0, 100.0)
    assert all(interval == (100.0, 100.0) for interval in scores.intervals.values())


def test_right_surface_at_a_wrong_place_counts_for_the_site_alone() -> None:
    gold = [[entity("name", 0, "李四")]]
    scores = score_entities([[entity("name", 7, "李四")]], gold, TYPES)
    assert scores.site_macro_f1 == 100.0
    assert scores.strict_macro_f1 == scores.strict_micro_f1 == 0.0


def test_a_surface_at_two_places_counts_once_for_the_site_and_twice_strictly() -> None:
    gold = [[entity("name", 0, "李四"), entity("name", 5, "李四")]]
    scores = score_entities([[entity("name", 0, "李四")]], gold, TYPES)
    assert scores.site_macro_f1 == 100.0
    assert scores.strict_micro_f1 == pytest.approx(200 / 3)
    assert (scores.precision, scores.recall) == (100.0, 50.0)


def test_macro_and_micro_weigh_types_differently() -> None:
    gold = [[entity("name", 0, "李四"), entity("name", 3, "张三"), entity("address", 6, "北京")]]
    scores = score_entities([gold[0][:2]], gold, TYPES)
    assert scores.strict_macro_f1 == pytest.approx(50.0)  # name 100, address 0, book has no score
    assert scores.strict_micro_f1 == pytest.approx(80.0)  # 2 * 2 / (2 + 3)


def test_a_type_without_gold_or_prediction_has_no_score_and_one_with_either_scores_zero() -> None:
    gold = [[entity("name", 0, "李四")]]
    scores = score_entities([[entity("book", 4, "史记")]], gold, TYPES)
    assert scores.by_type["address"].site_f1 is None
    assert scores.by_type["name"].strict_f1 == 0.0
    assert scores.by_type["book"].site_f1 == 0.0
    assert scores.site_macro_f1 == 0.0


def test_the_same_surface_in_two_records_is_two_entities() -> None:
    gold = [[entity("name", 0, "李四")], [entity("name", 0, "李四")]]
    scores = score_entities([gold[0], []], gold, TYPES)
    assert scores.by_type["name"].site_f1 == pytest.approx(200 / 3)


def test_repeated_mentions_count_once() -> None:
    gold = [[entity("name", 0, "李四")]]
    assert score_entities([[*gold[0], *gold[0]]], gold, TYPES).strict_micro_f1 == 100.0


def test_an_unknown_type_is_an_error_and_not_a_miss() -> None:
    with pytest.raises(KeyError):
        score_entities([[entity("goverment", 0, "市局")]], [[]], TYPES)


def test_the_interval_brackets_the_score_and_repeats() -> None:
    gold = [[entity("name", index, "李四")] for index in range(60)]
    guessed = [entities if index % 3 else [] for index, entities in enumerate(gold)]
    first, second = (score_entities(guessed, gold, TYPES) for _ in range(2))
    low, high = first.intervals["strict_micro_f1"]
    assert low < first.strict_micro_f1 < high
    assert first.intervals == second.intervals
