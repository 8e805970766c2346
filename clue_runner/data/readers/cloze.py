"""Passages with idiom blanks in the ChID layout: lines of candidates and content, and the answers.

The official layout numbers its tags (``#idiom000123#``), has ten candidates per record and keeps the
answers in a second file that maps tags to indices. FewCLUE's layout has one text with one ``#idiom#``,
seven candidates and the answer in the record. Each record shows which one it is.

In: a card and a source. Out: ``Records[ClozeRecord]``. Knows nothing about tokens or models.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from clue_runner.data.card import Card, Split
from clue_runner.data.foreign.recognise import refuse_no_data
from clue_runner.data.readers.common import Noticed, Origin, make_records, read_part
from clue_runner.data.readers.json_document import Findings, JsonDocument, parse_document, texts_of
from clue_runner.data.readers.json_lines import JsonLine, parse_json_lines
from clue_runner.data.records import ClozeRecord, Records
from clue_runner.data.sources import DataSource
from clue_runner.errors import Problem

TAG = re.compile(r"#idiom\d*#")
PLAIN_TAG = "#idiom#"
UNUSED = "answers for tags that occur in no record"
REPEATED = "records that list a candidate twice"


def read_cloze_records(
    card: Card, source: DataSource, split: str, *, labelled: bool | None = None
) -> Records[ClozeRecord]:
    """Return the records of one split.

    Args:
        card: the task; the split's ``answers`` names the file with the answers, none in FewCLUE's layout.
        source: where its files are.
        split: a name in ``card.splits``.
        labelled: whether answers are required; None: as the card says for this split.

    Raises:
        DataError: a file is missing or cut, a record has no blank, a tag appears twice or has no answer,
            or an answer is not an index into the candidates; every finding with file:line.
    """
    declared = card.splits[split]
    part = read_part(source, declared)
    digest = hashlib.sha256(part.raw)
    rows, problems = parse_json_lines(part.raw, part.path)
    reading = _Reading(part.path, declared.labelled if labelled is None else labelled, problems)
    if reading.labelled and declared.answers:
        answers = _read_answers(source, declared)
        digest.update(answers.text.encode("utf-8"))
        reading.take_answers(answers)
    reading.read(rows, card)
    origin = Origin(card, source, split, [part], digest.hexdigest())
    blanks = sum(len(record.tags) for record in reading.items)
    noticed = Noticed(reading.problems, reading.counts, figures={"blanks": blanks})
    return make_records(origin, reading.items, noticed)


def _read_answers(source: DataSource, declared: Split) -> JsonDocument:
    """Return the parsed answers file of a split that names one."""
    if declared.answers is None:
        raise ValueError("the split names no answers file")
    part = read_part(source, declared.answers)
    refuse_no_data(part.raw, part.path)
    return parse_document(part.raw, part.path)


@dataclass
class _Reading:
    """The state while one split is read."""

    path: str
    labelled: bool
    problems: list[Problem]
    items: list[ClozeRecord] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    answers: dict[str, int] | None = None
    answers_file: str = ""
    lines_of_tags: dict[str, int] = field(default_factory=dict)
    ids: dict[str, int] = field(default_factory=dict)

    def take_answers(self, document: JsonDocument) -> None:
        """Take the answers of a separate file: one object that maps tags to indices."""
        findings = Findings(document)
        self.answers, self.answers_file = {}, document.file
        if not isinstance(document.value, dict):
            findings.add("the file must be one object that maps tags to indices")
        else:
            for tag, index in document.value.items():
                if type(index) is int and index >= 0:
                    self.answers[tag] = index
                else:
                    findings.add(f"the answer of {tag} must be an index from 0, got {index!r:.60}", tag)
        self.problems += findings.problems

    def read(self, rows: list[JsonLine], card: Card) -> None:
        """Take all records; faults go into ``problems``."""
        if self.problems and self.answers == {}:
            return  # without a single answer, every record would be reported
        for index, (line, row) in enumerate(rows):
            name = row.get(card.id_field, index) if card.id_field else index
            faults = self._record(row, name, line)
            self.problems += [Problem(fault, where=f"{self.path}:{line}") for fault in faults]
        unused = len((self.answers or {}).keys() - self.lines_of_tags.keys())
        if unused:
            self.counts[UNUSED] += unused

    def _record(self, row: dict[str, Any], name: Any, line: int) -> list[str]:
        """Keep one record; return its faults."""
        if isinstance(name, bool) or not isinstance(name, int | str):
            return [f"the id must be an integer or a string, got {name!r:.60}"]
        if self.ids.setdefault(str(name), line) != line:  # 1 and "1" are the same id
            return [f"id {name!r} is also on line {self.ids[str(name)]}"]
        content, candidates = row.get("content"), texts_of(row.get("candidates"))
        passages = (content,) if isinstance(content, str) else texts_of(content)
        if not passages or len(candidates) < 2:
            return ["expected texts under 'content' and two or more under 'candidates'"]
        tags = [tag for passage in passages for tag in TAG.findall(passage)]
        faults = self._tag_faults(tags, line)
        answers = None
        if self.labelled and not faults:
            answers, faults = self._answers_of(row, tags, len(candidates))
        if len(set(candidates)) < len(candidates):
            self.counts[REPEATED] += 1
        if not faults:
            self.items.append(ClozeRecord(name, passages, tuple(tags), candidates, answers, line))
        return faults

    def _tag_faults(self, tags: list[str], line: int) -> list[str]:
        """Return the faults of a record's tags: none at all, or one used before."""
        if not tags:
            return ["no blank: the content has no #idiom...# tag"]
        faults = [
            f"the tag {tag} appears twice in the record" for tag, count in Counter(tags).items() if count > 1
        ]
        for tag in dict.fromkeys(tags):
            # FewCLUE's tag has no number: it occurs once in every record
            if tag != PLAIN_TAG and self.lines_of_tags.setdefault(tag, line) != line:
                faults.append(f"the tag {tag} is also on line {self.lines_of_tags[tag]}")
        return faults

    def _answers_of(
        self, row: dict[str, Any], tags: list[str], candidates: int
    ) -> tuple[tuple[int, ...] | None, list[str]]:
        """Return the index of each tag, and the faults."""
        if self.answers is None:
            given: dict[str, Any] = {tags[0]: row.get("answer")} if len(tags) == 1 else {}
            place = "the record ('answer')"
        else:
            given = {tag: self.answers.get(tag) for tag in tags}
            place = self.answers_file
        faults = [f"no answer for {tag} in {place}" for tag in tags if given.get(tag) is None]
        faults += [
            f"the answer of {tag} is {index!r:.60}, which is not an index into {candidates} candidates"
            for tag, index in given.items()
            if index is not None and not (type(index) is int and 0 <= index < candidates)
        ]
        return (None, faults) if faults else (tuple(given[tag] for tag in tags), [])
