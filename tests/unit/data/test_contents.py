"""Every kind of record has texts; those with labels of the card's list have them here."""

from __future__ import annotations

import pytest

from clue_runner.data.cards import Card, all_cards
from clue_runner.data.check import check_source
from clue_runner.data.contents import answer_of, labels_of, texts_of
from clue_runner.data.layouts import read_records
from clue_runner.data.locate import locate
from clue_runner.data.statistics import split_statistics

CARDS = {name: card for name, card in all_cards().items() if card.sample}


@pytest.mark.parametrize("card", CARDS.values(), ids=CARDS)
def test_samples_of_every_layout_are_checked_and_counted(card: Card) -> None:
    report = check_source(card, locate(card, "sample"))
    assert report.problems == []
    for split, declared in card.splits.items():
        if split not in report.counts:
            continue
        records = read_records(card, locate(card, "sample"), split)
        figures = split_statistics(records)
        assert 0 < figures.lengths.median <= figures.lengths.longest
        for record in records.items:
            assert texts_of(record) and all(isinstance(text, str) for text in texts_of(record))
            assert (answer_of(record) not in (None, ())) == declared.labelled
            assert set(labels_of(record)) <= set(card.label_names)
        if card.label_names and declared.labelled:
            assert sum(figures.labels.values()) >= len(records)


def test_types_of_entities_are_no_classes() -> None:
    card = CARDS["cluener"]
    figures = split_statistics(read_records(card, locate(card, "sample"), "dev"))
    assert sum(figures.labels.values()) > figures.usable
    assert figures.majority_label is None and figures.chance is None


def test_other_records_are_refused() -> None:
    with pytest.raises(TypeError, match="str"):
        texts_of("text")
