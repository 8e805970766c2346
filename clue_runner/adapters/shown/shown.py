"""A record beside its answer, as adapters hand it to pages.

In: nothing. Out: frozen dataclasses of plain text. Knows nothing about tasks, files or HTML.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class ShownSpan:
    """A marked piece of a text: ``text[start:end]``, what it is, and who says so."""

    start: int
    end: int
    label: str
    role: Literal["gold", "predicted"]


@dataclass(frozen=True)
class ShownText:
    """One text of a record under the name of its field."""

    field: str
    text: str
    spans: tuple[ShownSpan, ...] = ()


@dataclass(frozen=True)
class ShownOption:
    """Something that could have been the answer; ``is_gold`` is None where the split has no answers."""

    text: str
    probability: float | None
    is_chosen: bool
    is_gold: bool | None


@dataclass(frozen=True)
class Shown:
    """A record beside its answer, ready to be drawn by something that knows no task.

    Args:
        id: the record's.
        texts: in reading order, with what is marked in them.
        answer: the prediction in words; labels with their names beside their codes.
        gold: the right answer in words; None in a split without answers.
        is_right: whether the metric counts the answer as right; None in a split without answers.
        probability: of the answer, where there is one.
        options: choices, labels or further answers, where a task has such.
    """

    id: int | str
    texts: tuple[ShownText, ...]
    answer: str
    gold: str | None
    is_right: bool | None
    probability: float | None = None
    options: tuple[ShownOption, ...] = ()
