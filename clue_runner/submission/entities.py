"""Checks answers that are entities: known types, surfaces that stand in the text at their spans.

In: parsed answers, the card's types, the test records where they are at hand. Out: findings.
Knows nothing about ids' order, counts or other files.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from clue_runner.data.cards import Card
from clue_runner.data.readers.entities import entities_of
from clue_runner.data.records import Records
from clue_runner.submission.findings import Findings, shorten
from clue_runner.submission.lines import Answer

SHAPE = '{"type": {"surface": [[start, end]]}}, ends inclusive'


def check_entities(
    answers: Sequence[Answer], card: Card, records: Records[Any] | None, findings: Findings
) -> None:
    """Note labels of another shape, unknown types, and spans that are not where the text has the surface.

    The first fault of a kind is shown with its line; without ``records`` spans are not compared with texts.
    """
    texts = {str(record.id): record.text for record in records.items} if records else {}
    for answer in answers:
        _, faults = entities_of(answer.label, texts.get(str(answer.id)), card.label_names)
        for fault in faults:
            findings.add(
                _kind(fault), answer.line, received=shorten(fault, 160), allowed=_allowed(fault, card)
            )


def _kind(fault: str) -> str:
    """Return what a fault is called, the same for all lines that have it."""
    if fault.startswith("entity type"):
        return "an entity type is not one of the card's"
    if fault.startswith("span"):
        return "a span does not hold its surface"
    return "the label is not a set of entities"


def _allowed(fault: str, card: Card) -> str:
    """Return what would be right instead."""
    return ", ".join(card.label_names) if fault.startswith("entity type") else SHAPE
