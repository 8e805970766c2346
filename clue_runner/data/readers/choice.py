"""Questions with choices in the C3 layout: JSON lists of ``[lines, questions, id]``.

In: a card and a source. Out: ``Records[ChoiceRecord]``, one per question; a split may have several files.
Knows nothing about tokens, padding choices or models.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from clue_runner.data.card import Card
from clue_runner.data.readers.common import Noticed, Origin, Part, make_records, read_document, read_part
from clue_runner.data.readers.json_document import Findings, JsonDocument, texts_of
from clue_runner.data.records import ChoiceRecord, Records
from clue_runner.data.sources import DataSource
from clue_runner.errors import Problem

REPEATED = "questions that repeat a choice"
REPEATED_ANSWER = "answers that appear twice among the choices, the first one is used"


def read_choice_records(
    card: Card, source: DataSource, split: str, *, labelled: bool | None = None
) -> Records[ChoiceRecord]:
    """Return the questions of one split; ``counts`` has the number that repeat a choice.

    Args:
        card: the task.
        source: where its files are.
        split: a name in ``card.splits``.
        labelled: whether answers are required; None: as the card says for this split.

    Raises:
        DataError: a file is missing, not JSON or cut, a question has fewer than two choices, an answer is
            not among the choices, or an id appears twice; every finding with file:line.
    """
    declared = card.splits[split]
    reading = _Reading(declared.labelled if labelled is None else labelled)
    parts: list[Part] = []
    digest = hashlib.sha256()
    for file in (declared, *declared.more):
        parts.append(part := read_part(source, file))
        digest.update(part.raw)
        reading.read(read_document(card, part))
    origin = Origin(card, source, split, parts, digest.hexdigest())
    return make_records(origin, reading.items, Noticed(reading.problems, reading.counts))


@dataclass
class _Reading:
    """The state while the files of one split are read."""

    labelled: bool
    items: list[ChoiceRecord] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    problems: list[Problem] = field(default_factory=list)
    ids: set[str] = field(default_factory=set)
    passages: int = 0

    def read(self, document: JsonDocument) -> None:
        """Take all questions of one file."""
        findings = Findings(document)
        if not isinstance(document.value, list):
            findings.add("the file must be a list of [lines, questions, id]")
        else:
            for place, passage in enumerate(document.value):
                self._passage(passage, place, findings)
        self.problems += findings.problems

    def _passage(self, passage: Any, place: int, findings: Findings) -> None:
        """Take the questions of one passage."""
        lines = texts_of(passage[0]) if isinstance(passage, list) and len(passage) > 1 else ()
        if not lines:
            findings.add(f"expected [lines, questions, id] with lines of text, got {passage!r:.60}", place)
            return
        if not isinstance(passage[1], list):
            findings.add(f"the questions must be a list, got {passage[1]!r:.60}", place)
            return
        for index, question in enumerate(passage[1]):
            fault = self._question(lines, question)
            if fault:
                findings.add(fault, place, 1, index)
        self.passages += 1

    def _question(self, passage: tuple[str, ...], question: Any) -> str | None:
        """Keep one question; return its fault, or None."""
        if not isinstance(question, dict) or not isinstance(question.get("question"), str):
            return f"expected an object with a string 'question', got {question!r:.60}"
        choices = texts_of(question.get("choice"))
        if len(choices) < 2:
            return f"'choice' must be a list of two or more strings, got {question.get('choice')!r:.60}"
        name = question.get("id", len(self.items))
        if isinstance(name, bool) or not isinstance(name, int | str):
            return f"'id' must be an integer or a string, got {name!r:.60}"
        if str(name) in self.ids:  # 1 and "1" are the same id
            return f"the question id {name!r} appears twice"
        answer: Any = question.get("answer")
        if self.labelled and answer not in choices:
            return f"the answer {answer!r:.60} is not among the choices (allowed: {', '.join(choices)})"
        if len(set(choices)) < len(choices):
            self.counts[REPEATED] += 1
            if self.labelled and choices.count(answer) > 1:
                self.counts[REPEATED_ANSWER] += 1
        self.ids.add(str(name))
        number = choices.index(answer) if self.labelled else None
        self.items.append(ChoiceRecord(name, passage, question["question"], choices, number, self.passages))
        return None
