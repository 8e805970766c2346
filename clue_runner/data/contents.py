"""The content of a record, whatever its kind: its texts and labels, for checks and statistics.

In: a record of any reader. Out: texts and labels as strings. Knows nothing about files.
"""

from __future__ import annotations

from typing import Any

from clue_runner.data.records import (
    ChoiceRecord,
    ClozeRecord,
    EntityRecord,
    PassagesRecord,
    ReadingRecord,
    TargetRecord,
    TextRecord,
)


def texts_of(record: Any) -> tuple[str, ...]:
    """Return the record's texts, by which records are compared.

    Raises:
        TypeError: no reader makes such records.
    """
    match record:
        case TextRecord():
            return record.texts
        case TargetRecord():
            return record.texts
        case EntityRecord():
            return (record.text,)
        case ReadingRecord():
            return (record.question, record.context)
        case ChoiceRecord():
            return ("\n".join(record.passage), record.question, *record.choices)
        case ClozeRecord():
            return (*record.passages, *record.candidates)
        case PassagesRecord():
            return (record.question, *(passage.text for passage in record.passages))
    raise TypeError(f"unknown type of record: {type(record).__name__}")


def labels_of(record: Any) -> tuple[str, ...]:
    """Return the card's labels that the record has: one for a text, a type for each entity, else none."""
    match record:
        case TextRecord():
            return () if record.label is None else (record.label,)
        case EntityRecord():
            return tuple(entity.type for entity in record.entities or ())
    return ()


def answer_of(record: Any) -> object:
    """Return what may differ between records with equal texts; comparable, None without labels."""
    match record:
        case TextRecord():
            return record.label
        case EntityRecord():
            return record.entities and frozenset(record.entities)
        case ReadingRecord():
            return record.references
        case TargetRecord():
            return record.target
        case ChoiceRecord():
            return record.answer
        case ClozeRecord() | PassagesRecord():
            return record.answers
    return None
