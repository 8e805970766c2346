"""Tasks that use a head trained on another task: diagnostics, which have no training data.

In: cards. Out: a card that fits the other task's head, or why there is none.
Knows nothing about runs, weights or files.
"""

from __future__ import annotations

from clue_runner.data.cards import Card, all_cards
from clue_runner.errors import UsageError


def lenders(card: Card) -> list[str]:
    """Return the shipped tasks whose runs can answer this one: trained, with the same adapter and labels."""
    return [
        name
        for name, other in all_cards().items()
        if "train" in other.splits and other.adapter == card.adapter and _labels(other) == _labels(card)
    ]


def require_train(card: Card) -> None:
    """Refuse to train on a task without a train split, and say what to do instead.

    Raises:
        UsageError: the card has no train or no dev split.
    """
    missing = [split for split in ("train", "dev") if split not in card.splits]
    if missing:
        raise UsageError(
            f"{card.name} cannot be trained: it has no {' and no '.join(missing)} split",
            where="--task",
            received=card.name,
            next_step=advice(card),
        )


def advice(card: Card) -> str:
    """Return how to answer a task that has no own runs."""
    names = lenders(card) or ["NAME"]
    return (
        f"clue train --task {names[-1]} (or another task with these labels: {', '.join(names)}), "
        f"then clue predict --run runs/{names[-1]}/RUN --task {card.name}"
    )


def answer_by_another(card: Card) -> str | None:
    """Return how a run of another task answers this one if its own train file is not available."""
    others = [name for name in lenders(card) if name != card.name]
    if not others:
        return None
    return (
        f"answer it with a run of {' or '.join(others)}: clue predict --run runs/{others[0]}/RUN "
        f"--task {card.name} --split dev"
    )


def borrowed_card(wanted: Card, trained: Card) -> Card:
    """Return ``wanted`` with its labels in the order of the head that ``trained`` gives.

    Raises:
        UsageError: other labels, or the same names with other meanings, or another kind of task.
    """
    # tasks without labels (reading: spans of the text) fit each other too
    if wanted.adapter == trained.adapter and _labels(wanted) == _labels(trained):
        return wanted.model_copy(update={"labels": trained.labels})
    own, others = set(wanted.label_names), set(trained.label_names)
    differing = ", ".join(sorted(own ^ others)[:6]) or "their meanings"
    names = lenders(wanted)
    raise UsageError(
        f"a run of {trained.name} cannot answer {wanted.name}: the labels differ ({differing})",
        where="--run",
        received=trained.name,
        allowed=", ".join(dict.fromkeys([*names, *([wanted.name] if "train" in wanted.splits else [])]))
        or None,
        next_step="omit --task, since a run implies its task, or name a run of one of these tasks",
    )


def _labels(card: Card) -> dict[str, str]:
    """Return label name -> description: equal names alone ("0", "1") may differ in meaning."""
    return {label.name: label.description for label in card.labels}
