"""The list of mistakes on a page: limited so that the page stays small, each with its explanation.

In: wrong answers in the order of the page. Out: entries with texts in pieces. Knows nothing about HTML.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from clue_runner.adapters.shown.shown import ShownOption, ShownText
from clue_runner.reports.judged import Judged
from clue_runner.reports.marks import Piece, pieces

MOST = 300
MOST_CHARACTERS = 600_000  # of all texts: under 2 MB in UTF-8
ANSWER_CHARACTERS = 300
OPTIONS_SHOWN = 10
UNMARKED = 80  # characters of a passage without a mark, if others have one
CHOICES = 150  # most labels by which the list can be filtered


@dataclass(frozen=True)
class Entry:
    """One mistake; ``gold`` and ``answer`` are None if they are texts and texts were left out."""

    id: int | str
    gold: str | None
    answer: str | None
    probability: float | None
    length: int
    at_limit: bool
    texts: tuple[tuple[str, list[Piece]], ...]
    options: tuple[ShownOption, ...]


@dataclass(frozen=True)
class Mistakes:
    """The input of the page's first section.

    Args:
        items: the entries shown.
        wrong: total number of mistakes.
        total: total number of answers.
        by_confidence: ordered by probability; False: in file order.
        in_tokens: lengths are tokens, not characters.
        without_texts: texts were left out on purpose.
        golds, answers: labels to filter by; empty if answers are not labels.
    """

    items: list[Entry]
    wrong: int
    total: int
    by_confidence: bool
    in_tokens: bool
    without_texts: bool
    golds: list[str]
    answers: list[str]


def show_mistakes(
    wrong: Sequence[Judged], total: int, labels: Sequence[str], *, texts: bool, in_tokens: bool
) -> Mistakes:
    """Return the first mistakes, as many as fit into the page.

    Args:
        wrong: all mistakes in order.
        total: total number of answers.
        labels: of the card, as people read them.
        texts: whether texts of the data set may be shown.
        in_tokens: whether lengths are in tokens.
    """
    known = frozenset(labels)
    items: list[Entry] = []
    characters = 0
    for one in wrong[:MOST]:
        entry = _entry(one, known, texts=texts)
        characters += sum(len(piece.text) for _, some in entry.texts for piece in some)
        if items and characters > MOST_CHARACTERS:
            break
        items.append(entry)
    golds, answers = ({one.gold for one in items}, {one.answer for one in items})
    filtered = 0 < len(known) <= CHOICES and golds | answers <= known
    return Mistakes(
        items=items,
        wrong=len(wrong),
        total=total,
        by_confidence=all(one.shown.probability is not None for one in wrong),
        in_tokens=in_tokens,
        without_texts=not texts,
        golds=[name for name in labels if name in golds] if filtered else [],
        answers=[name for name in labels if name in answers] if filtered else [],
    )


def _entry(one: Judged, labels: frozenset[str], *, texts: bool) -> Entry:
    """Return one mistake; without ``texts``, only labels are included."""
    shown = one.shown
    options = sorted(shown.options, key=lambda option: not (option.is_chosen or option.is_gold))
    kept = {id(option) for option in options[:OPTIONS_SHOWN]}
    return Entry(
        id=shown.id,
        gold=_words(shown.gold, labels, texts=texts),
        answer=_words(shown.answer, labels, texts=texts),
        probability=shown.probability,
        length=one.length,
        at_limit=one.at_limit,
        texts=_texts(shown.texts) if texts else (),
        options=tuple(
            option for option in shown.options if id(option) in kept and (texts or option.text in labels)
        ),
    )


def _words(answer: str | None, labels: frozenset[str], *, texts: bool) -> str | None:
    """Return an answer, shortened if it is long; None if it may not be shown."""
    if answer is None or not (texts or answer in labels):
        return None
    return answer if len(answer) <= ANSWER_CHARACTERS else f"{answer[:ANSWER_CHARACTERS]} …"


def _texts(given: Sequence[ShownText]) -> tuple[tuple[str, list[Piece]], ...]:
    """Return texts in pieces; if some have marks, those without are shortened."""
    marked = sum(bool(text.spans) for text in given)
    found = []
    for text in given:
        short = marked and not text.spans and len(given) > 2 and len(text.text) > UNMARKED
        if short:
            elided = Piece("", elided=len(text.text) - UNMARKED)
            found.append((text.field, [Piece(text.text[:UNMARKED]), elided]))
        else:
            found.append((text.field, pieces(text)))
    return tuple(found)
