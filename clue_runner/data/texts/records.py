"""A record of any task as a document: what pre-training on a task's own texts reads.

In: a record of a type in ``data/records.py``. Out: its texts as paragraphs, no answer that is
beside them. Knows nothing about files, tokens or which split a record is of.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from clue_runner.data.records import (
    ChoiceRecord,
    ClozeRecord,
    EntityRecord,
    PassagesRecord,
    ReadingRecord,
    Records,
    TargetRecord,
    TextRecord,
)
from clue_runner.data.texts.documents import Document, ListedTexts


def record_texts(record: Any) -> list[str]:
    """Return the texts of a record in reading order.

    Raises:
        TypeError: a type of record that this module does not know (our bug).
    """
    if isinstance(record, TextRecord | TargetRecord):
        return list(record.texts)
    if isinstance(record, EntityRecord):
        return [record.text]
    if isinstance(record, ReadingRecord):
        return [record.context, record.question]
    if isinstance(record, ChoiceRecord):
        return [*record.passage, record.question, *record.choices]
    if isinstance(record, ClozeRecord):
        return list(record.passages)
    if isinstance(record, PassagesRecord):
        return [record.question, *(passage.text for passage in record.passages)]
    raise TypeError(f"no texts are known of {type(record).__name__}")


def task_texts(records: Records[Any]) -> ListedTexts:
    """Return the records of a split as documents; a document that several records share occurs once."""
    documents: dict[tuple[str, ...], None] = {}
    for record in records.items:
        if paragraphs := tuple(text for text in record_texts(record) if text.strip()):
            documents.setdefault(paragraphs)
    held: Sequence[Document] = list(documents)
    return ListedTexts(records.file, held, records.sha256)
