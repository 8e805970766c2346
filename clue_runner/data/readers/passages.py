"""Questions with several passages: the list layout of the DGCNN reader, and WebQA v1.0's annotated files.

In: a card and a source, or bytes. Out: ``Records[PassagesRecord]``. Knows nothing about tokens or votes.

List layout: ``[{"id", "question", "passages": [{"passage", "answer"}]}]``, the answer empty if the passage
does not contain it. Two additional keys are read: ``answers`` (further references for scoring) and
``repeat``.
WebQA v1.0: ``{question id: {"question", "evidences": {id: {"evidence", "answer": [...]}}}}``, ``no_answer``
if there is none; 18 of 3,024 test answers there are missing from their evidence, so such an answer is kept
for scoring and counted. In the list layout a missing answer means that the file contradicts itself: an error.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from clue_runner.data.archives import GZIP, unpack_gzip
from clue_runner.data.card import Card
from clue_runner.data.readers.common import Noticed, Origin, make_records, name_layout, read_part
from clue_runner.data.readers.json_document import Findings, JsonDocument, Step, bad_records, parse_document
from clue_runner.data.records import Passage, PassagesRecord, Records
from clue_runner.data.sources import DataSource
from clue_runner.errors import DataError

NO_ANSWER = "no_answer"
NO_QUESTION = "records without a question"
NOWHERE = "answers that appear nowhere in their passage"
NO_PASSAGES = "questions without passages"


@dataclass(frozen=True)
class Questions:
    """The content of one file: usable records, the count of all, what was left out and noticed."""

    items: tuple[PassagesRecord, ...]
    total: int
    skipped: dict[str, int]
    counts: dict[str, int]


def read_passage_records(
    card: Card, source: DataSource, split: str, *, labelled: bool | None = None
) -> Records[PassagesRecord]:
    """Return the questions of one split in file order.

    Args:
        card: the task.
        source: where its files are.
        split: a name in ``card.splits``.
        labelled: whether answers are needed; None: as the card says for this split.

    Raises:
        DataError: no such file, not JSON, or invalid records, each with file:line.
    """
    declared = card.splits[split]
    part = read_part(source, declared)
    wants_labels = declared.labelled if labelled is None else labelled
    questions = parse_questions(part.raw, part.path, labelled=wants_labels)
    origin = Origin(card, source, split, [part], hashlib.sha256(part.raw).hexdigest())
    left_out = [f"{part.name}: {count:,} {why}" for why, count in questions.skipped.items()]
    if split == "train":  # a single file that is split was read as a whole before; report that once
        left_out += source.notes
    noticed = Noticed(counts=questions.counts, skipped=questions.skipped, remarks=left_out)
    return make_records(origin, questions.items, noticed, total=questions.total)


def parse_questions(raw: bytes, path: str, *, labelled: bool = True) -> Questions:
    """Return the questions of one file in either layout; a gzip is unpacked in memory.

    Raises:
        DataError: not readable, or invalid records; all of them are listed with file:line.
        RefusedFileError: a gzip that unpacks to far more than its size.
    """
    content = unpack_gzip(raw, path) if raw.startswith(GZIP) else raw
    try:
        reading = _Reading(parse_document(content, path), labelled)
    except DataError as error:
        raise name_layout(content, path, "passages") or error from None
    reading.read()
    if reading.findings.problems:
        other = None if reading.items else name_layout(content, path, "passages")
        raise other or bad_records(path, reading.findings.problems)
    return Questions(
        tuple(reading.items.values()), reading.total, dict(reading.skipped), dict(reading.counts)
    )


@dataclass
class _Reading:
    """The state while one file is read."""

    document: JsonDocument
    labelled: bool
    items: dict[str, PassagesRecord] = field(default_factory=dict)
    skipped: Counter[str] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)
    total: int = 0
    findings: Findings = field(init=False)

    def __post_init__(self) -> None:
        """Start without findings."""
        self.findings = Findings(self.document)

    def read(self) -> None:
        """Take all records; faults go into ``findings``."""
        value = self.document.value
        if isinstance(value, list):
            for index, record in enumerate(value):
                self._take_listed(record, index)
        elif isinstance(value, dict) and all(isinstance(question, dict) for question in value.values()):
            for name, record in value.items():
                self._take_annotated(name, record)
        else:
            self.findings.add(
                f"expected a list of records, or WebQA's object of questions, got {value!r:.60}"
            )

    def _take_listed(self, record: Any, index: int) -> None:
        """Keep one record of the list layout, or note its fault."""
        self.total += 1
        if not isinstance(record, dict):
            self.findings.add(f"expected an object, got {record!r:.60}", index)
            return
        question = record.get("question")
        if question is None or question == "":
            self.skipped[NO_QUESTION] += 1
            return
        name = record.get("id", index)
        passages = record.get("passages")
        if not self._named(name, question, index) or not isinstance(passages, list):
            if not isinstance(passages, list):
                self.findings.add(f"question {name}: 'passages' must be a list, got {passages!r:.60}", index)
            return
        kept = []
        for place, entry in enumerate(passages):
            passage = self._listed_passage(name, entry, (index, "passages", place))
            if passage is not None:
                kept.append(passage)
        self._keep(
            name, question, kept, self._further(name, record, index), self._repeat(name, record, index)
        )

    def _listed_passage(self, name: Any, entry: Any, path: tuple[Step, ...]) -> Passage | None:
        """Return one passage of the list layout, or None if it is invalid."""
        text = entry.get("passage") if isinstance(entry, dict) else None
        answer = entry.get("answer", "") if isinstance(entry, dict) else None
        if not isinstance(text, str) or not text.strip():
            self.findings.add(f"question {name}: a passage has no text, got {entry!r:.60}", *path)
            return None
        if not isinstance(answer, str):
            self.findings.add(f"question {name}: 'answer' must be a string, got {answer!r:.60}", *path)
            return None
        if answer and answer not in text:
            self.findings.add(
                f"question {name}: the answer {answer!r:.60} appears nowhere in its passage", *path
            )
            return None
        return Passage(text, (answer,) if answer else ())

    def _further(self, name: Any, record: dict[str, Any], index: int) -> tuple[str, ...]:
        """Return the references outside the passages."""
        listed = record.get("answers", [])
        if not isinstance(listed, list) or not all(isinstance(text, str) and text for text in listed):
            self.findings.add(
                f"question {name}: 'answers' must be a list of strings, got {listed!r:.60}", index
            )
            return ()
        return tuple(listed)

    def _repeat(self, name: Any, record: dict[str, Any], index: int) -> int:
        """Return how often an epoch repeats the question."""
        repeat = record.get("repeat", 1)
        if type(repeat) is not int or not 1 <= repeat <= 100:
            self.findings.add(
                f"question {name}: 'repeat' must be a number from 1 to 100, got {repeat!r:.60}", index
            )
            return 1
        return repeat

    def _take_annotated(self, name: str, record: dict[str, Any]) -> None:
        """Keep one question of WebQA v1.0, or note its fault."""
        self.total += 1
        question, evidences = record.get("question"), record.get("evidences")
        if question is None or question == "":
            self.skipped[NO_QUESTION] += 1
            return
        if not self._named(name, question, name):
            return
        if not isinstance(evidences, dict):
            self.findings.add(f"question {name}: 'evidences' must be an object, got {evidences!r:.60}", name)
            return
        kept, nowhere = [], list[str]()
        for key, evidence in evidences.items():
            text = evidence.get("evidence") if isinstance(evidence, dict) else None
            if not isinstance(text, str) or not text.strip():
                self.findings.add(
                    f"question {name}: an evidence has no text, got {evidence!r:.60}", name, "evidences", key
                )
                continue
            given = list(self._annotated_answers(name, evidence.get("answer"), (name, "evidences", key)))
            kept.append(Passage(text, tuple(answer for answer in given if answer in text)))
            nowhere += [answer for answer in given if answer not in text]
        if nowhere:
            self.counts[NOWHERE] += len(nowhere)
        self._keep(name, question, kept, nowhere, 1)

    def _annotated_answers(self, name: str, answer: Any, path: tuple[Step, ...]) -> Iterator[str]:
        """Yield the answers of one evidence, each once."""
        listed = [answer] if isinstance(answer, str) else answer
        if not isinstance(listed, list) or not all(isinstance(text, str) for text in listed):
            self.findings.add(
                f"question {name}: 'answer' must be a list of strings, got {answer!r:.60}", *path
            )
            return
        yield from dict.fromkeys(text for text in listed if text and text != NO_ANSWER)

    def _named(self, name: Any, question: Any, *path: Step) -> bool:
        """Return whether id and question are usable; note why not."""
        if isinstance(name, bool) or not isinstance(name, int | str) or name == "":
            self.findings.add(f"'id' must be a number or a string, got {name!r:.60}", *path)
        elif not isinstance(question, str):
            self.findings.add(f"question {name}: 'question' must be a string, got {question!r:.60}", *path)
        elif str(name) in self.items:  # 1 and "1" are the same id
            self.findings.add(f"question {name}: the id appears twice", *path)
        else:
            return True
        return False

    def _keep(
        self, name: int | str, question: str, passages: list[Passage], further: Sequence[str], repeat: int
    ) -> None:
        """Add one record; answers of a split without labels are dropped."""
        if not passages:
            self.counts[NO_PASSAGES] += 1
        answers: tuple[str, ...] | None = None
        if self.labelled:
            answers = tuple(
                dict.fromkeys([*(answer for passage in passages for answer in passage.answers), *further])
            )
        else:
            passages = [Passage(passage.text) for passage in passages]
        self.items[str(name)] = PassagesRecord(name, question, tuple(passages), answers, repeat)
