"""Checks all files of a submission, and reports which file of a benchmark is missing.

In: paths, cards, ``--data``. Out: a ``Report``: one entry per file, problems, warnings, missing files.
Knows nothing about the terminal or the zip made from it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from clue_runner.data.card import Card
from clue_runner.data.cards import CARD_FILE, find_card
from clue_runner.errors import DataError, Problem, StorageError, UsageError
from clue_runner.submission.check import check_file, count_warning, expected_counts
from clue_runner.submission.choose import choose, of_model, why_not
from clue_runner.submission.findings import problem
from clue_runner.submission.gather import Gathered, Piece, as_problem, gather
from clue_runner.submission.names import Known, Match, name_problem, official_files, recognise
from clue_runner.submission.objects import count_answers
from clue_runner.submission.testfiles import TestFiles


@dataclass(frozen=True)
class FileReport:
    """The results of the checks of one file.

    Args:
        known: which official file it is; None if its name does not tell.
        lines: its answers: lines, or the keys of a file that is one object.
        compared_with: the test file whose ids were compared.
        warning: a further message for the user.
        why: why this file was chosen and not that of another run.
    """

    piece: Piece
    known: Known | None
    lines: int = 0
    compared_with: str | None = None
    problems: tuple[Problem, ...] = ()
    warning: str | None = None
    why: str | None = None

    @property
    def ok(self) -> bool:
        """Return whether the file may be submitted."""
        return self.known is not None and not self.problems

    def as_dict(self) -> dict[str, object]:
        """Return the report for ``--json``."""
        run = self.piece.run
        return {
            "file": self.piece.shown,
            "task": self.known.card.name if self.known else None,
            "official_name": self.known.submission.file if self.known else None,
            "lines": self.lines,
            "compared_with": self.compared_with,
            "ok": self.ok,
            "problems": [str(problem) for problem in self.problems],
            "warning": self.warning,
            "run": str(run.folder) if run else None,
            "model": run.model if run else None,
            "seed": run.seed if run else None,
            "metric": run.metric if run else None,
            "score": run.score if run else None,
            "data": run.data if run else None,
            "why": self.why,
        }


@dataclass(frozen=True)
class Report:
    """All files, findings about zips and folders, and the benchmark's missing files."""

    benchmark: str
    files: tuple[FileReport, ...]
    problems: tuple[Problem, ...] = ()
    unreadable: tuple[Problem, ...] = ()
    warnings: tuple[str, ...] = ()
    missing: tuple[Known, ...] = ()
    sample: bool = False
    left_out: tuple[str, ...] = ()

    @property
    def all_problems(self) -> list[Problem]:
        """Return the problems of zips and folders, then those of each file."""
        of_files = [problem for file in self.files for problem in file.problems]
        return [*self.unreadable, *self.problems, *of_files]


def check_paths(
    paths: Sequence[str | Path],
    cards: Mapping[str, Card],
    *,
    data: str | None = None,
    benchmark: str = "clue1.1",
    model: str | None = None,
    allow: Collection[str] = (),
) -> Report:
    """Return the findings about every submission file at ``paths``.

    Args:
        paths: files, folders, run folders or zips; empty: the runs under ``runs``. Where several runs found
            below a folder have answered one test set, one of them is chosen.
        cards: all shipped tasks by name; a user's own card is found through its run folder.
        data: where the test files are, as for ``--data``; None: ``$CLUE_HOME/data/<task>`` if there.
        benchmark: the one whose missing files are named.
        model: only files of this model's runs.
        allow: flaws of runs to accept (``choose.Allowed``).

    Raises:
        DataError: no path can be read, or the data cannot.
        RefusedFileError: a malicious zip.
    """
    sample = data == "sample"
    allow = {"random", "sample", "incomplete"} if sample else allow
    gathered = gather(paths, lambda name: bool(recognise(name, cards).candidates))
    own, broken = _own_cards(gathered.pieces)
    cards = {**cards, **own}
    pieces, others = (gathered.pieces, []) if model is None else of_model(gathered.pieces, model)
    matches = [(piece, recognise(piece.name, cards)) for piece in pieces]
    used = {
        known.card.name: piece.run.data if piece.run else None
        for piece, match in matches
        for known in match.candidates
    }
    tests = TestFiles(data, used)
    taken, left_out = _taken(matches, allow)
    files = [_check_piece(piece, match, tests, why) for piece, match, why in taken]
    present = {file.known.submission.file for file in files if file.known}
    return Report(
        benchmark=benchmark,
        files=tuple(files),
        problems=(*gathered.problems, *([] if sample or "sample" in allow else _marks(gathered))),
        unreadable=(*gathered.unreadable, *broken),
        warnings=(*map(str, gathered.warnings), *_warnings(files)),
        missing=tuple(known for known in official_files(cards) if _is_missing(known, benchmark, present)),
        sample=sample,
        left_out=(*(f"{piece.shown}: not of a run of {model}" for piece in others), *left_out),
    )


def _taken(
    matches: Sequence[tuple[Piece, Match]], allow: Collection[str]
) -> tuple[list[tuple[Piece, Match, str | None]], tuple[str, ...]]:
    """Return the files to check with the reason for each, and those left out with the reason.

    All named files are checked, and unreadable ones always shown. Of the others, found in runs below a
    folder, each official file is checked once.
    """
    taken: list[tuple[Piece, Match, str | None]] = []
    groups: dict[str, list[tuple[Piece, Match]]] = {}
    left_out: list[str] = []
    for piece, match in matches:
        if not match.candidates and not piece.named:
            left_out.append(f"{piece.shown}: not a file of the leaderboard")
        elif piece.searched and piece.fault is None:
            groups.setdefault(piece.name, []).append((piece, match))
        else:
            taken.append((piece, match, None))
    for name in sorted(groups):
        choice = choose([piece for piece, _ in groups[name]], allow)
        taken.append((choice.piece, groups[name][0][1], choice.why))
        left_out += [f"{piece.shown}: {why_not(piece, choice.piece, allow)}" for piece in choice.passed]
    return taken, tuple(left_out)


def _check_piece(piece: Piece, match: Match, tests: TestFiles, why: str | None) -> FileReport:
    """Return the report of one file, compared with the test records if available."""
    known = _official(match.candidates, piece)
    target = None if known is None else Path(piece.shown).with_name(known.submission.file)
    wrong = name_problem(match, piece.name, piece.shown, known, taken=target is not None and target.exists())
    problems = [wrong] if wrong else []
    if piece.fault is not None:
        return FileReport(piece, known, problems=(piece.fault,), why=why)
    if known is None:
        return FileReport(piece, None, count_answers(piece.raw, "lines"), problems=tuple(problems), why=why)
    card, submission = known.card, known.submission
    lines = count_answers(piece.raw, submission.shape)
    try:
        source = tests.source(card)
        records = tests.records(card, submission.split)
        splits = {other.split for other in card.submissions} - {submission.split}
        others = {split: there for split in splits if (there := tests.records(card, split)) is not None}
    except (DataError, StorageError) as error:  # a broken test file must not affect other tasks
        return FileReport(piece, known, lines, problems=(*problems, as_problem(error)), why=why)
    sample = source is not None and source.is_sample
    problems += check_file(
        card, submission, piece.raw, records, name=piece.shown, sample=sample, others=others
    )
    warning = None if sample or problems else count_warning(card, submission, records)
    compared = records.path if source and records else None
    return FileReport(piece, known, lines, compared, tuple(problems), warning, why)


def _official(candidates: Sequence[Known], piece: Piece) -> Known | None:
    """Return the candidate with the file's count, else the first (the newest version)."""
    fitting = [
        known
        for known in candidates
        if count_answers(piece.raw, known.submission.shape) in expected_counts(known.card, known.submission)
    ]
    return next(iter(fitting or candidates), None)


def _marks(gathered: Gathered) -> list[Problem]:
    what, fix = "marked as answers to sample records, not for upload", "clue data get NAME, then clue train"
    return [problem(what, mark, fix=fix) for mark in gathered.sample_marks]


def _warnings(files: Sequence[FileReport]) -> list[str]:
    """Return remarks on the files that are not faults, and which could not be compared."""
    warnings = [file.warning for file in files if file.warning]
    compared = [file for file in files if file.known and not file.piece.fault and not file.compared_with]
    blind = sorted({file.known.card.name for file in compared if file.known})
    if blind:
        warnings.append(
            f"no test file found for {', '.join(blind)}: count and labels were checked, "
            f"ids and order were not; give --data DIR, or clue data get {blind[0]}"
        )
    return warnings


def _own_cards(pieces: Sequence[Piece]) -> tuple[dict[str, Card], list[Problem]]:
    """Return the users' own cards named by their runs, and the broken ones."""
    cards: dict[str, Card] = {}
    broken: list[Problem] = []
    for task in sorted({piece.run.task for piece in pieces if piece.run and piece.run.task}):
        try:
            if (Path(task) / CARD_FILE).is_file():
                card = find_card(task)
                cards[card.name] = card
        except UsageError as error:
            broken.append(as_problem(error))
    return cards, broken


def _is_missing(known: Known, benchmark: str, present: set[str]) -> bool:
    return benchmark in known.submission.benchmarks and known.submission.file not in present
