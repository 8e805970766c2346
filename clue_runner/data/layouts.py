"""The readable file layouts, by the name that a card gives under ``layout``.

In: a card, a source, a split. Out: ``Records`` of the layout's record type. Knows nothing about adapters.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from clue_runner.data.card import Card
from clue_runner.data.readers.choice import read_choice_records
from clue_runner.data.readers.cloze import read_cloze_records
from clue_runner.data.readers.entities import read_entity_records
from clue_runner.data.readers.passages import read_passage_records
from clue_runner.data.readers.reading import read_reading_records
from clue_runner.data.readers.targets import read_question_targets, read_target_records
from clue_runner.data.readers.text import read_text_records
from clue_runner.data.records import Records
from clue_runner.data.sources import DataSource
from clue_runner.data.texts.source import read_token_rows


class Reader(Protocol):
    """The signature of every reader."""

    def __call__(
        self, card: Card, source: DataSource, split: str, *, labelled: bool | None = None
    ) -> Records[Any]:
        """Return the usable records of one split."""


READERS: Mapping[str, Reader] = {
    "lines": read_text_records,
    "cluener": read_entity_records,
    "squad": read_reading_records,
    "c3": read_choice_records,
    "chid": read_cloze_records,
    "passages": read_passage_records,
    "targets": read_target_records,
    "squad_targets": read_question_targets,
    "token_rows": read_token_rows,
}


def read_records(card: Card, source: DataSource, split: str, *, labelled: bool | None = None) -> Records[Any]:
    """Return the usable records of one split, read in the card's layout.

    Raises:
        DataError: as the layout's reader.
    """
    return READERS[card.layout](card, source, split, labelled=labelled)
