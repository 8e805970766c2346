"""File names of the leaderboard: which file this is, and its correct name.

In: a file's name and all cards. Out: the card and submission it stands for, or a problem.
Knows nothing about the file's content.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from shlex import quote

from clue_runner.data.cards import Card, Submission
from clue_runner.errors import Problem
from clue_runner.submission.findings import problem

CLOSE = 0.85  # from this similarity on, a misspelt name is assumed to mean the official one
NEAR = 0.6  # from this similarity on, it is only suggested


@dataclass(frozen=True)
class Known:
    """One official file: the task and its submission."""

    card: Card
    submission: Submission


@dataclass(frozen=True)
class Match:
    """What a name stands for: several where a task has versions; ``problem`` where the name is wrong."""

    candidates: tuple[Known, ...]
    problem: str | None = None


def official_files(cards: Mapping[str, Card]) -> Iterator[Known]:
    """Return every file of every card, in the cards' order and then in the card's own."""
    return (Known(card, submission) for card in cards.values() for submission in card.submissions)


def recognise(name: str, cards: Mapping[str, Card]) -> Match:
    """Return what ``name`` stands for: exact, known wrong, formed from the task's name, or similar."""
    known = list(official_files(cards))
    exact = tuple(file for file in known if file.submission.file == name)
    if exact:
        return Match(exact)
    wrong = tuple(file for file in known if name in file.submission.wrong_names)
    if wrong:
        return Match(wrong, wrong[0].submission.wrong_names[name])
    plain = _plain(name)
    spelt = tuple(file for file in known if _plain(file.submission.file) == plain)
    if spelt:
        return Match(spelt, "the name must match letter for letter")
    formed = tuple(file for file in known if plain in _formed(file.card.name))
    if formed:
        return Match(formed, "the leaderboard knows no such file: it scores 0")
    return _similar(name, known)


def name_problem(
    match: Match, name: str, shown: str, chosen: Known | None, *, taken: bool = False
) -> Problem | None:
    """Return the problem of a wrong name with the right one and how to rename; None for a correct name.

    ``taken``: a file with the correct name already exists, so nothing may be moved onto it.
    """
    if match.problem is None:
        return None
    if chosen is None:
        names = ", ".join(known.submission.file for known in match.candidates)
        return problem(f"not a leaderboard file name: {match.problem}", shown, name, names or None)
    right = chosen.submission.file
    fix = f"clue predict --task {chosen.card.name} --split test"
    if ".zip:" not in shown and not taken:
        fix = f"mv {quote(shown)} {quote(shown.removesuffix(name) + right)}"
    return problem(f"wrong file name: {match.problem}", shown, name, right, fix)


def _similar(name: str, known: list[Known]) -> Match:
    """Return the files whose names are closest: meant if very close, else only suggested."""
    scored = [(_similarity(name.lower(), file.submission.file), file) for file in known]
    best = max((ratio for ratio, _ in scored), default=0.0)
    if best >= CLOSE:
        meant = tuple(file for ratio, file in scored if ratio == best)
        return Match(meant, "the name must match letter for letter")
    near = [file.submission.file for ratio, file in scored if ratio == best and ratio >= NEAR]
    hint = f"did you mean {' or '.join(near)}?" if near else "clue tasks lists the names"
    return Match((), hint)


def _similarity(name: str, official: str) -> float:
    """Return 0 to 1; below ``NEAR`` an upper bound is enough, which long unknown names reach at once."""
    matcher = difflib.SequenceMatcher(None, name, official)
    bound = min(matcher.real_quick_ratio(), matcher.quick_ratio())
    return bound if bound < NEAR else matcher.ratio()


def _plain(name: str) -> str:
    """Return the name without case, punctuation, copy marks and endings."""
    stem = re.sub(r"(\s*\(\d+\)|\s*copy)?(\.(json|jsonl|txt))*$", "", name.lower())
    return re.sub(r"[^a-z0-9]", "", stem)


def _formed(task: str) -> set[str]:
    """Return the names that published baselines give to a task's file, in plain form."""
    endings = ("", "predict", "prediction", "predictions", "testprediction", "submit")
    return {task + ending for ending in endings}
