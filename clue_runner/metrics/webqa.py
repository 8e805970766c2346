"""The scores of WebQA's evaluation kit: strict and fuzzy, over single evidences and by vote.

In: the kit's question file (tokens and reference answers) and one tag per token. Out: precision, recall
and F1 from 0 to 1 with their counts, and the kit's own line. Knows nothing about networks.

Restated from the kit of WebQA v1.0 (Python 2). An evidence, or a question in the vote, counts as one thing to
find; every predicted answer counts against precision, and one right answer is enough.
The fuzzy score also needs the kit's lists of synonyms, which are research data and do not ship: they are read
from a folder of the user's (see ``webqa_fuzzy``); without it only the rules apply.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

from clue_runner.errors import DataError
from clue_runner.files.text import printable, read_text

TAGS = ("B", "I", "O1", "O2")  # tag numbers 0 to 3; all but B and I are outside
NO_ANSWER, NO_RESULT = "no_answer", "no_result"
SPACE = re.compile(r"\s+")

Same = Callable[[str, str], bool]


@dataclass(frozen=True)
class TaggedEvidence:
    """One evidence: reference answers and the answers that the tags mark."""

    references: tuple[str, ...]
    answers: tuple[str, ...]


@dataclass(frozen=True)
class KitScore:
    """What the kit prints: chunks to find, chunks predicted, and chunks that were found."""

    true: int
    predicted: int
    correct: int

    @property
    def precision(self) -> float:
        """Return correct / predicted, 0 to 1."""
        return self.correct / self.predicted if self.predicted else 0.0

    @property
    def recall(self) -> float:
        """Return correct / true, 0 to 1."""
        return self.correct / self.true if self.true else 0.0

    @property
    def f1(self) -> float:
        """Return the harmonic mean, 0 to 1."""
        total = self.precision + self.recall
        return 2 * self.precision * self.recall / total if total else 0.0

    def line(self) -> str:
        """Return the kit's line."""
        return (
            f"chunk_f1={self.f1:8.6f} chunk_precision={self.precision:8.6f} chunk_recall={self.recall:8.6f} "
            f"true_chunks={self.true} result_chunks={self.predicted} correct_chunks={self.correct}"
        )


def plain(text: str) -> str:
    """Return ``text`` without white space, in lower case."""
    return SPACE.sub("", text).lower()


def strictly_same(reference: str, answer: str) -> bool:
    """Return whether two answers are equal but for spaces and case."""
    if answer == NO_RESULT and reference == NO_ANSWER:
        return True
    return reference == answer


def score_evidences(questions: Sequence[Sequence[TaggedEvidence]], same: Same = strictly_same) -> KitScore:
    """Return the score over all evidences."""
    pairs = [(evidence.references, evidence.answers) for evidences in questions for evidence in evidences]
    return _score(pairs, same)


def score_votes(questions: Sequence[Sequence[TaggedEvidence]], same: Same = strictly_same) -> KitScore:
    """Return the score of each question's most frequent answers."""
    return _score([(_references(evidences), voted(evidences)) for evidences in questions], same)


def voted(evidences: Sequence[TaggedEvidence]) -> tuple[str, ...]:
    """Return the answers found most often; if none was found twice, those of the first evidence with any."""
    counts = Counter(SPACE.sub("", answer) for evidence in evidences for answer in evidence.answers)
    if not counts:
        return ()
    most = max(counts.values())
    if most == 1:
        first = next(evidence.answers for evidence in evidences if evidence.answers)
        return tuple(dict.fromkeys(SPACE.sub("", answer) for answer in first))
    return tuple(answer for answer, count in counts.items() if count == most)


def _references(evidences: Sequence[TaggedEvidence]) -> tuple[str, ...]:
    """Return a question's references: those of its first evidence that has any."""
    each = (evidence.references for evidence in evidences)
    real = (references for references in each if [plain(text) for text in references] != [NO_ANSWER])
    return next(real, evidences[0].references if evidences else ())


def _score(pairs: Sequence[tuple[Sequence[str], Sequence[str]]], same: Same) -> KitScore:
    """Count over (references, answers) pairs."""
    correct = predicted = 0
    for references, answers in pairs:
        wanted = [text for text in map(plain, references) if text]
        given = [plain(answer) for answer in answers]
        predicted += len(answers)
        correct += any(same(reference, answer) for answer in given for reference in wanted)
    return KitScore(len(pairs), predicted, correct)


# ---------------------------------------------------------------------------- files


def marked(tokens: Sequence[str], tags: Sequence[int]) -> tuple[str, ...]:
    """Return the answers that tags mark: B begins one, I goes on (or begins one), all else ends it."""
    answers: list[list[str]] = []
    inside = False
    for token, tag in zip(tokens, tags, strict=True):
        name = TAGS[tag]
        if name == "B" or (name == "I" and not inside):
            answers.append([token])
        elif name == "I":
            answers[-1].append(token)
        inside = name in {"B", "I"}
    return tuple(" ".join(words) for words in answers)


def read_kit(questions: Path, predictions: Path) -> list[list[TaggedEvidence]]:
    """Return questions with tagged evidences from the kit's two files, zipped or not.

    Raises:
        DataError: a missing or broken file, a bad line (file:line), or another number of tags than of tokens.
    """
    tags = list(_tags(predictions))
    place = 0
    tagged: list[list[TaggedEvidence]] = []
    for where, record in _records(questions):
        tagged.append([])
        for tokens, references in _evidences(record, where):
            own = tags[place : place + len(tokens)]
            place += len(tokens)
            if len(own) == len(tokens):
                tagged[-1].append(TaggedEvidence(references, marked(tokens, own)))
    if place != len(tags):
        raise DataError(
            "the tags do not fit the questions",
            where=printable(str(predictions)),
            received=f"{len(tags):,} tags",
            allowed=f"{place:,}, one for each token of {printable(questions.name)}",
        )
    return tagged


def _evidences(record: Any, where: str) -> Iterator[tuple[list[str], tuple[str, ...]]]:
    """Yield (tokens, reference answers) of each evidence of a question."""
    evidences = record.get("evidences") if isinstance(record, dict) else None
    for evidence in evidences if isinstance(evidences, list) else [None]:
        tokens = evidence.get("evidence_tokens") if isinstance(evidence, dict) else None
        answers = evidence.get("golden_answers") if isinstance(evidence, dict) else None
        if not _are_texts(tokens) or not isinstance(answers, list) or not all(map(_are_texts, answers)):
            raise DataError(
                "not a question of WebQA's kit",
                where=where,
                received=printable(repr(record), 60),
                allowed="evidences, each with evidence_tokens and golden_answers, which are lists of texts",
            )
        yield tokens, tuple(" ".join(words) for words in answers)


def _are_texts(value: Any) -> TypeGuard[list[str]]:
    return isinstance(value, list) and all(isinstance(text, str) for text in value)


def _records(path: Path) -> Iterator[tuple[str, Any]]:
    """Yield (file:line, value) of a file of JSON lines."""
    for number, line in enumerate(read_text(path).split("\n"), 1):
        if not line.strip():
            continue
        where = f"{printable(str(path))}:{number}"
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError("not JSON", where=where, received=str(error)) from None
        yield where, record


def _tags(path: Path) -> Iterator[int]:
    """Yield the tag numbers of a prediction file: one per line, anything behind a semicolon ignored."""
    for number, line in enumerate(read_text(path).split("\n"), 1):
        if not line:
            continue
        tag = line.partition(";")[0].strip()
        if tag not in {"0", "1", "2", "3"}:
            where = f"{printable(str(path))}:{number}"
            raise DataError("not a tag", where=where, received=repr(line[:40]), allowed="0, 1, 2 or 3")
        yield int(tag)
