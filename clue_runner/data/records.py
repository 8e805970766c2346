"""The records that readers produce and everything else uses: plain data, no tokens.

In: nothing. Out: frozen dataclasses. Knows nothing about files, tokens or models.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar


@dataclass(frozen=True, slots=True)
class TextRecord:
    """One example of a classification task.

    Args:
        id: the record's own id as in the file, or its row number from 0 if the file has none.
        texts: one or two texts, template already applied.
        label: a label of the card, or None in a split without labels.
        line: line number in the file, from 1.
    """

    id: int | str
    texts: tuple[str, ...]
    label: str | None
    line: int


@dataclass(frozen=True, slots=True)
class TargetRecord:
    """One example of a generation task.

    Args:
        id: the record's own id as in the file, or its row number from 0 if the file has none.
        texts: the source, one or two texts.
        target: the text to be written, or None in a split without targets.
        focus: the character around which a last text that is too long is kept; None: its beginning.
    """

    id: int | str
    texts: tuple[str, ...]
    target: str | None
    focus: int | None = None


@dataclass(frozen=True, slots=True)
class Entity:
    """A named entity: ``surface`` is ``text[start : end + 1]``, with an inclusive end as in CLUENER."""

    type: str
    start: int
    end: int
    surface: str


@dataclass(frozen=True, slots=True)
class EntityRecord:
    """One text with its entities.

    Args:
        id: the record's own id, or its row number from 0 where the file has none.
        text: the raw text; offsets count its characters.
        entities: in the file's order, without duplicates; None in a split without labels.
        line: line number in the file, from 1.
    """

    id: int | str
    text: str
    entities: tuple[Entity, ...] | None
    line: int


@dataclass(frozen=True, slots=True)
class Answer:
    """A reference answer; ``start`` is its character offset in the context, None where it appears nowhere."""

    text: str
    start: int | None


@dataclass(frozen=True, slots=True)
class ReadingRecord:
    """One question about a context.

    Args:
        id: the question's id.
        context: the raw context; offsets count its characters.
        question: the question; empty in two questions of CMRC2018's trial file.
        answers: all references, for scoring; empty in a split without labels.
    """

    id: str
    context: str
    question: str
    answers: tuple[Answer, ...]

    @property
    def references(self) -> tuple[str, ...]:
        """Return the texts that count as correct."""
        return tuple(answer.text for answer in self.answers)

    @property
    def target(self) -> Answer | None:
        """Return the first answer that occurs in the context: the training target, None if there is none."""
        return next((answer for answer in self.answers if answer.start is not None), None)


@dataclass(frozen=True, slots=True)
class ChoiceRecord:
    """One question with choices about a passage (C3).

    Args:
        id: the question's own id, or its number from 0 over all files of the split.
        passage: the lines of the text, or the turns of the dialogue.
        question: the question.
        choices: two or more; a text may appear twice.
        answer: index of the first choice that is the answer; None in a split without labels.
        passage_number: the passage's index in the split, from 0, shared by its questions.
    """

    id: int | str
    passage: tuple[str, ...]
    question: str
    choices: tuple[str, ...]
    answer: int | None
    passage_number: int


@dataclass(frozen=True, slots=True)
class ClozeRecord:
    """Passages with blanks that share one list of candidates (ChID).

    Args:
        id: the record's own id, or its row number from 0 where the file has none.
        passages: texts that hold the tags.
        tags: every tag in the order of the passages: ``#idiom000000#``, or ``#idiom#`` in FewCLUE's layout.
        candidates: the idioms to choose from.
        answers: index into ``candidates`` of each tag; None in a split without labels.
        line: line number in the file, from 1.
    """

    id: int | str
    passages: tuple[str, ...]
    tags: tuple[str, ...]
    candidates: tuple[str, ...]
    answers: tuple[int, ...] | None
    line: int


@dataclass(frozen=True, slots=True)
class Passage:
    """A text that may contain the answer; ``answers`` are the correct texts in it, often none."""

    text: str
    answers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PassagesRecord:
    """One question, its passages, and every text that counts as its answer.

    Args:
        id: the record's own id, or its number from 0 where the file has none.
        question: the question.
        passages: in the file's order; may be none.
        answers: references for scoring, each once, in the order of the passages; None without labels.
        repeat: how often an epoch repeats it (2 if one data set counts twice in a mix).
    """

    id: int | str
    question: str
    passages: tuple[Passage, ...]
    answers: tuple[str, ...] | None
    repeat: int = 1


RecordT_co = TypeVar("RecordT_co", covariant=True)


@dataclass(frozen=True)
class Records(Generic[RecordT_co]):
    """The usable records of one split, in file order, and the findings.

    Args:
        split: the split's name in the card.
        items: the usable records.
        file: the file's name without folders, for warnings and counts.
        path: its name in messages: the path that the user gave, with the member of a zip.
        sha256: hash of the member's bytes.
        total: records in the file, including those left out.
        skipped: why records were left out -> their number ("label '-'" -> 50).
        warnings: messages for the user, each once.
        complete: False if ``total`` is not a count in the card.
        counts: what was repaired or noticed in records that were kept -> their number.
    """

    split: str
    items: Sequence[RecordT_co]
    file: str
    sha256: str
    total: int
    skipped: dict[str, int] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    complete: bool = True
    path: str = ""
    counts: dict[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        """Return the number of usable records."""
        return len(self.items)

    @property
    def shown(self) -> str:
        """Return the file's name for messages: ``path``, or the bare name if there is no file."""
        return self.path or self.file
