"""Chooses the file to submit if several runs have answered one test set, and judges whether to submit it.

In: the candidates for one official file, with the facts about their runs. Out: one of them, and why.
Knows nothing about the files' content.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from clue_runner.errors import DataError, Problem
from clue_runner.files.text import printable
from clue_runner.submission.findings import problem
from clue_runner.submission.gather import Piece

Allowed = Literal["random", "sample", "incomplete", "mixed"]


@dataclass(frozen=True)
class Choice:
    """The chosen file, the reason in words, and the files that were not chosen."""

    piece: Piece
    why: str | None = None
    passed: tuple[Piece, ...] = ()


def flaws(piece: Piece, allow: Collection[str] = ()) -> list[Problem]:
    """Return why a run's answers should not go to the leaderboard, except for what was allowed."""
    return [
        problem(reason, piece.shown, fix=f"name another run, or --allow {kind}")
        for kind, reason in (piece.run.flaws if piece.run else ())
        if kind not in allow
    ]


def of_model(pieces: Sequence[Piece], model: str) -> tuple[list[Piece], list[Piece]]:
    """Return the files from runs of one model, and the others.

    Raises:
        DataError: there are none.
    """
    made = [piece for piece in pieces if piece.run and piece.run.model == model]
    others = [piece for piece in pieces if not piece.run or piece.run.model != model]
    if pieces and not made:
        models = sorted({str(piece.run.model) for piece in pieces if piece.run})
        raise DataError(
            f"none of the files is from a run of {printable(model, 60)}",
            where="--model",
            allowed=printable(", ".join(models), 200) or "nothing: none of the files is from a run",
        )
    return made, others


def choose(pieces: Sequence[Piece], allow: Collection[str] = ()) -> Choice:
    """Return the file to submit from several runs: without flaws, newest settings, median seed.

    With an even number of seeds it is the lower of the two in the middle: a run's file, not a mean.
    """
    sound = [piece for piece in pieces if not flaws(piece, allow)] or list(pieces)
    newest = max(sound, key=lambda piece: (piece.changed, piece.shown))
    alike = [piece for piece in sound if same_settings(piece, newest)]
    by_seed = {piece.run.seed: piece for piece in sorted(alike, key=_age) if piece.run}
    scored = sorted(
        (piece.run.score, seed, piece)
        for seed, piece in by_seed.items()
        if piece.run and piece.run.score is not None and seed is not None
    )
    taken, why = newest, None
    if len(scored) > 1:
        _, middle, taken = scored[(len(scored) - 1) // 2]
        seeds = ", ".join(f"{seed}: {score:.2f}" for score, seed, _ in sorted(scored, key=lambda row: row[1]))
        why = f"seed {middle} is the median of {len(scored)} seeds ({seeds})"
    return Choice(taken, why, tuple(piece for piece in pieces if piece is not taken))


def same_settings(piece: Piece, other: Piece) -> bool:
    """Return whether two files are of runs that differ in their seed alone, or are one file."""
    if piece.run is None or other.run is None or piece.run.settings is None:
        return piece is other
    mine, its = piece.run, other.run
    return (mine.task, mine.settings, mine.weights) == (its.task, its.settings, its.weights)


def why_not(piece: Piece, taken: Piece, allow: Collection[str]) -> str:
    """Return in words why ``piece`` was not chosen."""
    if piece.run and (reasons := [reason for kind, reason in piece.run.flaws if kind not in allow]):
        return "; ".join(reasons)
    if same_settings(piece, taken):
        is_other_seed = piece.run and taken.run and piece.run.seed != taken.run.seed
        return "another seed" if is_other_seed else "an older file"
    return "a run with other settings, written earlier"


def mixed_models(pieces: Iterable[Piece]) -> Problem | None:
    """Return the finding that files are of several models; files that no run has made do not count."""
    models = [_model(piece) for piece in pieces if piece.run is not None]
    counts = Counter(name for name, _ in models)
    weights = {model for model in models if model[1] is not None}
    if len(counts) <= 1 and len(weights) <= 1:
        return None
    received = ", ".join(f"{count} of {name}" for name, count in sorted(counts.items()))
    if len(counts) == 1:
        received += f" with {len(weights)} different sets of pre-trained weights"
    what = "the files come from several models, which one leaderboard entry should not mix"
    return problem(what, received=received, fix="--model NAME selects one of them, --allow mixed accepts all")


def _model(piece: Piece) -> tuple[str, str | None]:
    return (str(piece.run.model), piece.run.weights) if piece.run else ("", None)


def _age(piece: Piece) -> tuple[int, str]:
    return piece.changed, piece.shown
