"""The identity of a run: data, vocabulary, pre-trained weights, and what in its card decides answers.

In: hashes and a card as plain values. Out: an ``Identity`` that a saved state and a result keep, and what
differs between two of them, in words. The settings are part of it too and are in ``run.yaml``.
Knows nothing about cards as types, files or engines.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict

from clue_runner.errors import Problem

RANDOM = "random"  # the pre-trained weights of a run that has none
# Splits that decide the weights. Test files do not: one added later changes nothing that was learned.
SPLITS = ("train", "dev")
# Parts of a card that decide how records are read, what the network answers, and which evaluation is best.
CARD_KEYS = (
    "version",
    "adapter",
    "layout",
    "fields",
    "id_field",
    "label_field",
    "labels",
    "skip_labels",
    "template",
    "target",
    "script",
    "metric",
)
# Of these, parts that do not change the answers.
SCORING_KEYS = frozenset({"version", "metric"})
LISTED = 12  # labels in a message; longer lists are shortened


class Identity(BaseModel):
    """What the weights and answers of a run depend on besides its settings; None and {}: not recorded.

    Args:
        data: split -> SHA-256 of its file.
        vocabulary: SHA-256 of the vocabulary, word vectors included.
        weights: one SHA-256 over all files of the pre-trained checkpoint, or "random".
        card: the task card's content under ``CARD_KEYS``; ``labels`` are the names in index order.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore")

    data: dict[str, str] = {}
    vocabulary: str | None = None
    weights: str | None = None
    card: dict[str, Any] = {}


def card_content(card: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parts of a card that belong to an identity.

    Args:
        card: the card as plain data, ``labels`` a list of mappings with ``name``.
    """
    content = {key: card[key] for key in CARD_KEYS if key in card}
    # A description explains a label; the name and its index are what the network learns.
    return {**content, "labels": [label["name"] for label in card.get("labels", ())]}


def identity_differences(before: Identity, now: Identity) -> list[Problem]:
    """Return one finding for each part that both record and that differs."""
    problems = [
        Problem(f"the file has changed: {_hashes(before.data[split], now.data[split])}", f"data: {split}")
        for split in SPLITS
        if split in before.data and split in now.data and before.data[split] != now.data[split]
    ]
    if before.vocabulary and now.vocabulary and before.vocabulary != now.vocabulary:
        changed = _hashes(before.vocabulary, now.vocabulary)
        problems.append(Problem(f"the vocabulary has changed: {changed}", "model.vocab"))
    if before.weights and now.weights and before.weights != now.weights:
        changed = _hashes(before.weights, now.weights)
        problems.append(Problem(f"the pre-trained weights have changed: {changed}", "model.checkpoint"))
    return problems + card_differences(before, now.card)


def card_differences(before: Identity, card: Mapping[str, Any], *, scoring: bool = True) -> list[Problem]:
    """Return one finding for each part of the card that differs from the card that a run was trained with.

    Args:
        before: the run's.
        card: the present card's ``card_content``.
        scoring: include parts that change only the scoring of answers.
    """
    return [
        Problem(_change(key, before.card[key], card[key]), f"task card: {key}")
        for key in CARD_KEYS
        if key in before.card and key in card and before.card[key] != card[key]
        if scoring or key not in SCORING_KEYS
    ]


def _change(key: str, before: Any, now: Any) -> str:
    """Return how a part of the card has changed."""
    if key == "labels":
        return f"the labels were {_listed(before)}; they are now {_listed(now)}{_first(before, now)}"
    return f"was {_plain(before)}, is now {_plain(now)}"


def _listed(labels: Sequence[str]) -> str:
    """Return labels in index order, a long list shortened."""
    more = f", ... ({len(labels)} in all)" if len(labels) > LISTED else ""
    return ", ".join(labels[:LISTED]) + more


def _first(before: Sequence[str], now: Sequence[str]) -> str:
    """Return where two long lists first differ."""
    if max(len(before), len(now)) <= LISTED:
        return ""
    index = next((at for at, (old, new) in enumerate(zip(before, now, strict=False)) if old != new), None)
    if index is None:
        return ""
    return f"; label {index + 1} was {before[index]}, is now {now[index]}"


def _hashes(before: str, now: str) -> str:
    """Return two hashes, short."""
    if RANDOM in {before, now}:
        return f"was {before[:12]}, is now {now[:12]}"
    return f"sha256 was {before[:12]}, is now {now[:12]}"


def _plain(value: Any) -> str:
    """Return a value as JSON on one line, a long one shortened."""
    text = json.dumps(value, ensure_ascii=False, sort_keys=True)
    return text if len(text) <= 160 else f"{text[:157]}..."
