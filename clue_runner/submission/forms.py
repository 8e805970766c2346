"""Answers as read from a file, and the forms that such a file may have.

In: nothing. Out: ``Answer`` and ``Form``. Knows nothing about bytes, labels or scores.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from clue_runner.data.cards import Card, Submission

Shape = Literal["lines", "object", "table"]

MAX_BYTES = 64 * 1024**2  # the largest official file has 1.5 MB
TOO_LARGE = "the file is too large for a submission"
ANSWER_KEYS = ("prediction", "label", "answer")  # in a run's own file, in submissions, in FewCLUE's ChID


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer and the line it is in; types are unchecked, ``id`` is None where there is none."""

    line: int
    id: Any
    value: Any
    probability: float | None = None


@dataclass(frozen=True)
class Form:
    """How a file of answers may be written.

    Args:
        shape: what the file must be; None: anything.
        keys: possible keys of the answer in a line; the first one found counts.
        for_upload: the leaderboard reads it: ids in every line, no other keys, no blank lines, no byte order
            mark, LF line ends. Otherwise all of these are tolerated.
        may_be_table: lines of id, tab and answer are allowed where ``shape`` is None.
    """

    shape: Shape | None = None
    keys: tuple[str, ...] = ANSWER_KEYS
    for_upload: bool = False
    may_be_table: bool = False

    @property
    def line(self) -> str:
        """Return the form of a line, for messages."""
        example = f'{{"id": 0, "{self.keys[0]}": "..."}}'
        return f"{example}, one per line" if self.for_upload else example


def upload_form(submission: Submission) -> Form:
    """Return the form that the leaderboard accepts; the tool that reads tables strips line ends itself."""
    shape: Shape = "lines" if submission.shape == "entities" else submission.shape
    return Form(shape, (submission.answer_key,), for_upload=shape != "table")


def scoring_form(card: Card) -> Form:
    """Return the form that ``clue evaluate`` accepts: a submission, or a run's own predictions."""
    return Form(may_be_table=any(submission.shape == "table" for submission in card.submissions))
