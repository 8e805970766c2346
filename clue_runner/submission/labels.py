"""Are the labels of a submission those of the card? Indexes, descriptions and types are told apart.

In: parsed answers and the card's label list. Out: findings. Knows nothing about ids, counts or files.
"""

from __future__ import annotations

from collections.abc import Sequence

from clue_runner.data.cards import Card, Submission
from clue_runner.submission.findings import Findings, shorten
from clue_runner.submission.lines import Answer

SHOWN = 20  # labels listed in a message before it is cut


def check_labels(answers: Sequence[Answer], card: Card, submission: Submission, findings: Findings) -> None:
    """Note labels of the wrong type, class indexes in place of labels, and labels the card does not have."""
    if not card.labels:
        return
    allowed = allowed_labels(card, submission)
    if _check_indexes(answers, card, submission, findings):
        return
    known = set(card.label_names)
    for answer in answers:
        label = answer.label
        if str(label) in known or (isinstance(label, bool) and str(label).lower() in known):
            if type(label) is not (str if submission.label_type == "str" else int):
                kind = "a text" if submission.label_type == "str" else "a number"
                findings.add(
                    f"the label is not {kind}", answer.line, received=shorten(label), allowed=allowed
                )
        else:
            findings.add(_what(label, card), answer.line, received=shorten(label), allowed=allowed)


def allowed_labels(card: Card, submission: Submission) -> str:
    """Return the labels as they stand in the file, a long list cut."""
    quote = '"' if submission.label_type == "str" else ""
    names = [f"{quote}{name}{quote}" for name in card.label_names]
    if len(names) <= SHOWN:
        return ", ".join(names)
    return f"{names[0]}, {names[1]} ... {names[-1]}, {len(names)} labels: clue tasks show {card.name}"


def _check_indexes(answers: Sequence[Answer], card: Card, submission: Submission, findings: Findings) -> bool:
    """Note a file whose labels are all class indexes, and return whether it is one."""
    indexes = {str(number) for number in range(len(card.labels))}
    given = {str(answer.label) for answer in answers if not isinstance(answer.label, bool)}
    if not given or not given <= indexes or given & set(card.label_names):
        return False
    first = answers[0]
    name = card.label_names[int(str(first.label))]
    findings.add(
        f"the labels are class indexes, not the card's labels (index {first.label} stands for {name!r})",
        first.line,
        received=shorten(first.label),
        allowed=allowed_labels(card, submission),
    )
    return True


def _what(label: object, card: Card) -> str:
    """Return what is wrong with an unknown label, as exactly as can be told."""
    if label is None:
        return "the label is null"
    text = str(label)
    for known in card.labels:
        if text and text in {known.description, *known.description.split()}:
            return f"a label's description instead of the label (write {known.name!r})"
        if text.strip().lower() == known.name.lower():
            return f"the label is spelt differently (write {known.name!r})"
    if label == "-":
        return "the label is '-', the data's mark for records without an agreed label"
    return "the label is not one of the card's"
