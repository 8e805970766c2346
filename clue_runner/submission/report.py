"""Checks all files that a user hands in, and says which file of a benchmark is missing.

In: paths, cards, ``--data``. Out: a ``Report``: one entry a file, problems, warnings, missing files.
Knows nothing about the terminal or the zip that is made of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from clue_runner.config.yaml_reader import read_yaml
from clue_runner.data.cards import CARD_FILE, Card, find_card
from clue_runner.errors import Problem
from clue_runner.submission.check import check_file, count_warning, expected_counts
from clue_runner.submission.gather import Piece, gather
from clue_runner.submission.names import Known, name_problem, official_files, recognise
from clue_runner.submission.objects import count_answers
from clue_runner.submission.testfiles import TestFiles

BENCHMARKS = ("clue1.1", "clue1.0", "cluener", "fewclue")


@dataclass(frozen=True)
class FileReport:
    """What was found out about one file; ``known`` is None where its name says nothing.

    ``lines`` counts answers: lines, or the keys of a file that is one object.
    """

    piece: Piece
    known: Known | None
    lines: int
    compared_with: str | None
    problems: tuple[Problem, ...] = ()
    warning: str | None = None

    @property
    def ok(self) -> bool:
        """Return whether the file may be sent."""
        return self.known is not None and not self.problems

    def as_dict(self) -> dict[str, object]:
        """Return the report for ``--json``."""
        return {
            "file": self.piece.shown,
            "task": self.known.card.name if self.known else None,
            "official_name": self.known.submission.file if self.known else None,
            "lines": self.lines,
            "compared_with": self.compared_with,
            "ok": self.ok,
            "problems": [str(problem) for problem in self.problems],
            "warning": self.warning,
        }


@dataclass(frozen=True)
class Report:
    """All files, findings about zips and folders, and the benchmark's files that are not there."""

    benchmark: str
    files: tuple[FileReport, ...]
    problems: tuple[Problem, ...]
    warnings: tuple[str, ...]
    missing: tuple[Known, ...]
    sample: bool = False
    left_out: tuple[str, ...] = field(default=())

    @property
    def all_problems(self) -> list[Problem]:
        """Return the problems of zips and folders, then those of each file."""
        return [*self.problems, *(problem for file in self.files for problem in file.problems)]


def check_paths(
    paths: Sequence[str | Path],
    cards: Mapping[str, Card],
    *,
    data: str | None = None,
    benchmark: str = "clue1.1",
) -> Report:
    """Return what is right and wrong with every submission file at ``paths``.

    Args:
        paths: files, folders, run folders or zips; empty: the newest runs under ``runs``.
        cards: all shipped tasks by name; a user's own card is found through its run folder.
        data: where the test files are, as for ``--data``; None: ``$CLUE_HOME/data/<task>`` if there.
        benchmark: whose missing files are named.

    Raises:
        DataError: a path or the data cannot be read.
    """
    gathered = gather(paths)
    cards = {**cards, **_own_cards(gathered.pieces)}
    matches = [(piece, recognise(piece.name, cards)) for piece in gathered.pieces]
    tests = TestFiles(
        data, {one.card.name: piece.run for piece, match in matches for one in match.candidates}
    )
    files, left_out = [], []
    for piece, match in matches:
        if not match.candidates and not piece.named:
            left_out.append(piece.shown)
            continue
        chosen = _choose(match.candidates, piece)
        problem = name_problem(match, piece.name, piece.shown, chosen)
        files.append(_check_piece(piece, chosen, [problem] if problem else [], tests))
    problems = list(gathered.problems)
    if data != "sample":
        problems += [
            Problem(
                "marked as answers to sample records, not for upload",
                mark,
                fix="clue data get NAME, then clue train",
            )
            for mark in gathered.sample_marks
        ]
    warnings = [str(warning) for warning in gathered.warnings] + _warnings(files)
    present = {file.known.submission.file for file in files if file.known}
    missing = [one for one in official_files(cards) if _is_missing(one, benchmark, present)]
    return Report(
        benchmark=benchmark,
        files=tuple(files),
        problems=tuple(problems),
        warnings=tuple(warnings),
        missing=tuple(missing),
        sample=data == "sample",
        left_out=tuple(left_out),
    )


def _warnings(files: Sequence[FileReport]) -> list[str]:
    """Return what is not wrong with the files and should be known, and which could not be compared."""
    warnings = [file.warning for file in files if file.warning]
    blind = sorted({file.known.card.name for file in files if file.known and not file.compared_with})
    if blind:
        warnings.append(
            f"no test file at hand for {', '.join(blind)}: count and labels were checked, "
            f"ids and order were not; give --data DIR, or clue data get {blind[0]}"
        )
    return warnings


def _own_cards(pieces: Sequence[Piece]) -> dict[str, Card]:
    """Return the cards that users wrote themselves, as the runs that the files came from name them."""
    found = {}
    for run in {piece.run for piece in pieces if piece.run is not None}:
        settings = run / "run.yaml"
        task = read_yaml(settings).values.get("task") if settings.is_file() else None
        if isinstance(task, str) and (Path(task) / CARD_FILE).is_file():
            card = find_card(task)
            found[card.name] = card
    return found


def _check_piece(piece: Piece, known: Known | None, problems: list[Problem], tests: TestFiles) -> FileReport:
    """Return the report of one file, compared with the test records where they are at hand."""
    if known is None:
        return FileReport(piece, None, count_answers(piece.raw, "lines"), None, tuple(problems))
    card, submission = known.card, known.submission
    lines = count_answers(piece.raw, submission.shape)
    records = tests.records(card, submission.split)
    source = tests.source(card)
    others: dict[str, Any] = {}
    for other in card.submissions:
        found = None if other.split == submission.split else tests.records(card, other.split)
        if found is not None:
            others[other.split] = found
    sample = source is not None and source.is_sample
    problems += check_file(
        card, submission, piece.raw, records, name=piece.shown, sample=sample, others=others
    )
    compared = f"{source.label}:{records.file}" if source and records else None
    warning = None if sample or problems else count_warning(card, submission, records)
    return FileReport(piece, known, lines, compared, tuple(problems), warning)


def _choose(candidates: Sequence[Known], piece: Piece) -> Known | None:
    """Return the candidate whose count the file has, else the first (the newest version)."""
    if not candidates:
        return None
    fitting = [
        one
        for one in candidates
        if count_answers(piece.raw, one.submission.shape) in expected_counts(one.card, one.submission)
    ]
    return (fitting or list(candidates))[0]


def _is_missing(one: Known, benchmark: str, present: set[str]) -> bool:
    """Return whether a file belongs to the benchmark and is not there."""
    return benchmark in one.submission.benchmarks and one.submission.file not in present
