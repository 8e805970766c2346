"""Questions about contexts in the SQuAD layout: one JSON file (CMRC2018, DRCD).

In: a card and a source. Out: ``Records[ReadingRecord]``. Knows nothing about tokens, windows or models.

Published answer offsets are not always right. An offset at which the answer does not appear is moved to the
nearest place where it does. An answer with offset -1 that appears nowhere (193 in CMRC2018's dev file: the
annotators wrote them freely) is kept as a reference for scoring, without an offset; a question without any
offset cannot be trained on. An offset of 0 or more for a text that appears nowhere is an error: the file
contradicts itself.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from clue_runner.data.card import Card
from clue_runner.data.readers.common import Noticed, Origin, make_records, read_document, read_part
from clue_runner.data.readers.json_document import Findings, JsonDocument, Step
from clue_runner.data.records import Answer, ReadingRecord, Records
from clue_runner.data.sources import DataSource

PLACEHOLDER = "FAKE_ANSWER"  # what test files hold in place of answers
REPAIRED = "answers moved to where their text occurs"
NOWHERE = "answers that appear nowhere in their context"
UNTRAINABLE = "questions without an answer to train on"
NO_QUESTION = "empty questions"


def read_reading_records(
    card: Card, source: DataSource, split: str, *, labelled: bool | None = None
) -> Records[ReadingRecord]:
    """Return the questions of one split in file order; ``counts`` lists the repairs.

    Args:
        card: the task.
        source: where its files are.
        split: a name in ``card.splits``.
        labelled: whether answers are required; None: as the card says for this split.

    Raises:
        DataError: no such file, not JSON or cut off, two questions with one id, a missing answer,
            or an answer with an offset that appears nowhere in the context; every finding with file:line.
    """
    declared = card.splits[split]
    part = read_part(source, declared)
    reading = _Reading(read_document(card, part), declared.labelled if labelled is None else labelled)
    reading.read()
    origin = Origin(card, source, split, [part], hashlib.sha256(part.raw).hexdigest())
    return make_records(
        origin, tuple(reading.items.values()), Noticed(reading.findings.problems, reading.counts)
    )


def nearest_occurrence(text: str, context: str, start: int) -> int | None:
    """Return the offset nearest to ``start`` at which ``text`` occurs in ``context``, the earlier of two."""
    places = []
    place = context.find(text)
    while place >= 0:
        places.append(place)
        place = context.find(text, place + 1)
    return min(places, key=lambda offset: (abs(offset - start), offset)) if places else None


@dataclass
class _Reading:
    """The state while one file is read."""

    document: JsonDocument
    labelled: bool
    items: dict[str, ReadingRecord] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    findings: Findings = field(init=False)

    def __post_init__(self) -> None:
        """Start without findings."""
        self.findings = Findings(self.document)

    def read(self) -> None:
        """Take all questions; faults go into ``findings``."""
        for context, question, path in self._questions():
            self._take(context, question, path)
        if not self.labelled and self.counts.pop("answers not used", 0):
            self.counts["questions with answers, which are not used in a split without labels"] += 1

    def _questions(self) -> Iterator[tuple[str, dict[str, Any], tuple[Step, ...]]]:
        """Yield (context, question object, path) of every question in file order."""
        for article, article_path in self._objects(self.document.value, "data", ()):
            for paragraph, path in self._objects(article, "paragraphs", article_path):
                context = paragraph.get("context")
                if not isinstance(context, str) or not context:
                    self.findings.add(f"'context' must be a non-empty string, got {context!r:.60}", *path)
                    continue
                for question, question_path in self._objects(paragraph, "qas", path):
                    yield context, question, question_path

    def _objects(
        self, parent: Any, key: str, path: tuple[Step, ...]
    ) -> Iterator[tuple[dict[str, Any], tuple[Step, ...]]]:
        """Yield (object, path) of the list of objects under ``key``."""
        children = parent.get(key) if isinstance(parent, dict) else None
        if not isinstance(children, list):
            self.findings.add(f"expected an object with a list {key!r}, got {parent!r:.60}", *path)
            return
        for index, child in enumerate(children):
            if isinstance(child, dict):
                yield child, (*path, key, index)
            else:
                self.findings.add(f"expected an object, got {child!r:.60}", *path, key, index)

    def _take(self, context: str, question: dict[str, Any], path: tuple[Step, ...]) -> None:
        """Keep one question, or note its fault."""
        name, text = question.get("id"), question.get("question")
        if isinstance(name, bool) or not isinstance(name, int | str) or name == "":
            self.findings.add(f"the question's 'id' must be a string or an integer, got {name!r:.60}", *path)
            return
        name = str(name)  # predictions use it as a key, which is always a string
        if not isinstance(text, str):
            self.findings.add(f"question {name}: 'question' must be a string, got {text!r:.60}", *path)
            return
        if name in self.items:
            self.findings.add(f"question {name}: the id appears twice", *path)
            return
        if not text.strip():
            self.counts[NO_QUESTION] += 1
        self.items[name] = ReadingRecord(name, context, text, self._answers(name, context, question, path))

    def _answers(
        self, name: str, context: str, question: dict[str, Any], path: tuple[Step, ...]
    ) -> tuple[Answer, ...]:
        """Return the question's references with valid offsets; placeholders do not count."""
        listed = question.get("answers", [])
        if not isinstance(listed, list):
            self.findings.add(f"question {name}: 'answers' must be a list, got {listed!r:.60}", *path)
            return ()
        real = [(index, answer) for index, answer in enumerate(listed) if not _is_placeholder(answer)]
        if not self.labelled:
            self.counts["answers not used"] += bool(real)
            return ()
        answers = [self._answer(name, context, answer, (*path, "answers", index)) for index, answer in real]
        kept = tuple(answer for answer in answers if answer is not None)
        if not real:
            self.findings.add(f"question {name}: no answer, but this split needs one", *path)
        elif kept and all(answer.start is None for answer in kept):
            self.counts[UNTRAINABLE] += 1
        return kept

    def _answer(self, name: str, context: str, answer: Any, path: tuple[Step, ...]) -> Answer | None:
        """Return one reference, its offset repaired, or None if it is invalid."""
        text = answer.get("text") if isinstance(answer, dict) else None
        start = answer.get("answer_start") if isinstance(answer, dict) else None
        if not isinstance(text, str) or not text or type(start) is not int:
            self.findings.add(
                f"question {name}: an answer needs 'text' and an integer 'answer_start', got {answer!r:.60}",
                *path,
            )
            return None
        if start >= 0 and context.startswith(text, start):
            return Answer(text, start)
        place = nearest_occurrence(text, context, start)
        if place is None and start >= 0:
            self.findings.add(f"question {name}: the answer {text!r:.60} is not in the context", *path)
            return None
        self.counts[NOWHERE if place is None else REPAIRED] += 1
        return Answer(text, place)


def _is_placeholder(answer: Any) -> bool:
    """Return whether this is the placeholder that test files have for an answer."""
    return isinstance(answer, dict) and str(answer.get("text", "")).startswith(PLACEHOLDER)
