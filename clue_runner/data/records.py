"""The records that readers give and everything else takes: plain data, no tokens.

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
        id: the record's own id as the file holds it, or its row number from 0 where the file has none.
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
    """One example of a task whose answer is written.

    Args:
        id: the record's own id as the file holds it, or its row number from 0 where the file has none.
        texts: what is read, one or two texts.
        target: what is to be written, or None in a split without.
        focus: the character of the last text around which it is kept where it is too long; None: its begin.
    """

    id: int | str
    texts: tuple[str, ...]
    target: str | None
    focus: int | None = None


@dataclass(frozen=True, slots=True)
class Entity:
    """A named entity: ``surface`` is ``text[start : end + 1]``, the end inclusive as in CLUENER."""

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
        entities: in the file's order, each distinct one once; None in a split without labels.
        line: line number in the file, from 1.
    """

    id: int | str
    text: str
    entities: tuple[Entity, ...] | None
    line: int


@dataclass(frozen=True, slots=True)
class Answer:
    """A reference answer; ``start`` is its character offset in the context, None where it stands nowhere."""

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
        """Return the texts that count as right."""
        return tuple(answer.text for answer in self.answers)

    @property
    def target(self) -> Answer | None:
        """Return the first answer that stands in the context: what to train on, None where there is none."""
        return next((answer for answer in self.answers if answer.start is not None), None)


@dataclass(frozen=True, slots=True)
class ChoiceRecord:
    """One question with choices about a passage (C3).

    Args:
        id: the question's own id, or its number from 0 over all files of the split.
        passage: the lines of the text, or the turns of the dialogue.
        question: the question.
        choices: two or more; a text may stand twice.
        answer: index of the first choice that is the answer; None in a split without labels.
        passage_number: which passage of the split this is, from 0; questions of one passage share it.
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
    """A text that may hold the answer; ``answers`` are the texts in it that are right, often none."""

    text: str
    answers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PassagesRecord:
    """One question, the passages it is asked over, and every text that counts as its answer.

    Args:
        id: the record's own id, or its number from 0 where the file has none.
        question: the question.
        passages: in the file's order; may be none.
        answers: references for scoring, each once, in the order of the passages; None without labels.
        repeat: how often an epoch asks it (2 where one data set counts twice in a mix).
    """

    id: int | str
    question: str
    passages: tuple[Passage, ...]
    answers: tuple[str, ...] | None
    repeat: int = 1


RecordT_co = TypeVar("RecordT_co", covariant=True)


@dataclass(frozen=True)
class Records(Generic[RecordT_co]):
    """The usable records of one split, in file order, and what was seen on the way.

    Args:
        split: the split's name in the card.
        items: the usable records.
        file: the file's name without folders, for warnings and figures.
        path: what messages call it: the path that the user gave; of a zip, the member too.
        sha256: hash of the member's bytes.
        total: records in the file, left-out ones counted.
        skipped: why records were left out -> how many ("label '-'" -> 50).
        warnings: things a user should be told, once each.
        complete: False where ``total`` is not a count that the card knows.
        counts: what was repaired or noticed in records that were kept -> how many.
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
        """Return what messages call the file: ``path``, and the name alone of what no file holds."""
        return self.path or self.file
