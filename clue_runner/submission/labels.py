"""Checks that the labels of a file are the card's; recognises indices, descriptions and wrong types.

In: parsed answers and the card's label list. Out: findings. Knows nothing about ids, counts or files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from clue_runner.data.cards import Card
from clue_runner.submission.findings import Findings, shorten
from clue_runner.submission.forms import Answer

SHOWN = 20  # labels listed in a message before it is shortened

LabelType = Literal["str", "int"]


def check_labels(answers: Sequence[Answer], card: Card, label_type: LabelType, findings: Findings) -> None:
    """Note labels of the wrong type, class indices in place of labels, and labels not in the card."""
    if not card.labels:
        return
    allowed = allowed_labels(card, label_type)
    if _check_indices(answers, card, allowed, findings):
        return
    known = set(card.label_names)
    guesses = _guesses(card)
    for answer in answers:
        label = answer.value
        spelling = _spelling(label)
        if spelling in known or (isinstance(label, bool) and spelling.lower() in known):
            if type(label) is not (str if label_type == "str" else int):
                kind = "a string" if label_type == "str" else "a number"
                what = f"the label is not {kind}"
                findings.add(what, answer.line, received=shorten(label), allowed=allowed)
        else:
            findings.add(_what(label, guesses), answer.line, received=shorten(label), allowed=allowed)


def allowed_labels(card: Card, label_type: LabelType) -> str:
    """Return the labels as in the file, a long list shortened."""
    quote = '"' if label_type == "str" else ""
    names = [f"{quote}{name}{quote}" for name in card.label_names]
    if len(names) <= SHOWN:
        return ", ".join(names)
    return f"{names[0]}, {names[1]} ... {names[-1]}, {len(names)} labels: clue tasks show {card.name}"


def _check_indices(answers: Sequence[Answer], card: Card, allowed: str, findings: Findings) -> bool:
    """Note a file whose labels are all class indices, and return whether it is one."""
    indices = {str(number) for number in range(len(card.labels))}
    numbers = [answer for answer in answers if not isinstance(answer.value, bool)]
    given = {_spelling(answer.value) for answer in numbers}
    if not given or not given <= indices or given & set(card.label_names):
        return False
    first = numbers[0]
    name = card.label_names[int(_spelling(first.value))]
    findings.add(
        f"the labels are class indices, not the card's labels (index {first.value} stands for {name!r})",
        first.line,
        received=shorten(first.value),
        allowed=allowed,
    )
    return True


def _spelling(label: object) -> str:
    """Return how a scalar would be written; nested values match no label."""
    return str(label) if isinstance(label, str | int) else ""


def _guesses(card: Card) -> Mapping[str, str]:
    """Return frequent wrong spelling -> its fault, computed once for all answers."""
    guesses: dict[str, str] = {}
    for label in card.labels:
        what = f"a label's description instead of the label (write {label.name!r})"
        for text in (label.description, *label.description.split()):
            guesses.setdefault(text, what)
    for label in card.labels:
        guesses.setdefault(label.name.lower(), f"the label is spelt differently (write {label.name!r})")
    return guesses


def _what(label: object, guesses: Mapping[str, str]) -> str:
    """Return the fault of an unknown label, as precisely as possible."""
    if label is None:
        return "the label is null"
    if isinstance(label, str) and label == "-":
        return "the label is '-', the data's mark for records without an agreed label"
    text = _spelling(label)
    guess = guesses.get(text) or guesses.get(text.strip().lower())
    return guess if text.strip() and guess else "the label is not one of the card's"
