"""What ``clue submit check`` and ``clue submit pack`` do: from answer files to a zip for the leaderboard.

In: paths and options as plain values. Out: one line per file, problems with their fixes, the zip, results.
Knows nothing about argv or models.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clue_runner.console import Console
from clue_runner.data.cards import all_cards
from clue_runner.errors import DataError
from clue_runner.files.names import user_path
from clue_runner.files.text import printable
from clue_runner.submission.choose import Allowed, flaws
from clue_runner.submission.pack import pack as write_zip
from clue_runner.submission.report import FileReport, Report, check_paths

UPLOAD_PAGE = "https://www.cluebenchmarks.com/submit.html"
SHOWN = 8  # files left out that are listed one by one


@dataclass(frozen=True)
class SubmitRequest:
    """The options of both commands, named as on the command line."""

    paths: Sequence[str] = ()
    benchmark: str = "clue1.1"
    model: str | None = None
    data: str | None = None
    allow: Sequence[Allowed] = ()
    output: str | None = None


def check(request: SubmitRequest, console: Console) -> dict[str, Any]:
    """Check all files and return the result event's content.

    Raises:
        DataError: not all of them are ready for upload.
    """
    report = _report(request)
    _show(report, console)
    for flaw in (flaw for file in report.files for flaw in flaws(file.piece) if not report.sample):
        console.warn(f"clue submit pack will refuse {flaw}")
    problems = report.all_problems
    result = {
        "ok": not problems,
        "benchmark": request.benchmark,
        "files": [file.as_dict() for file in report.files],
        "problems": [str(problem) for problem in problems],
        "missing": [known.submission.file for known in report.missing],
        "left_out": list(report.left_out),
        "sample": report.sample,
    }
    console.event({"event": "result", **result})
    if problems:
        good = sum(file.ok for file in report.files)
        raise DataError(
            f"not ready for upload: only {good} of {len(report.files)} files are correct",
            problems=problems,
            next_step="apply the fixes above, then run clue submit check again",
        )
    return result


def pack(request: SubmitRequest, console: Console) -> dict[str, Any]:
    """Check, write the zip, name the run behind each of its files, and return the result event's content.

    Raises:
        ClueError: as ``check_paths`` and ``submission.pack.pack``.
    """
    report = _report(request)
    _show(report, console)
    output = user_path(request.output) if request.output else None
    packed = write_zip(report, output, request.allow)
    rows = [_origin_row(file) for file in packed.taken]
    if not console.quiet:
        console.table(["file", "run", "model", "seed", "dev score", "data"], rows)
    for file in packed.taken:
        if file.why:
            console.say(f"{file.piece.name}: {file.why}")
    for line in packed.left_out:
        console.say(f"left out: {printable(line)}")
    if packed.set_aside:
        console.say(f"the earlier zip is now {printable(str(packed.set_aside))}")
    names = ", ".join(packed.files)
    console.say(f"{printable(str(packed.path))}: {names}; sha256 {packed.sha256}")
    console.say("sample records: not for upload" if report.sample else f"upload: {UPLOAD_PAGE}")
    result = {
        "ok": True,
        "output": str(packed.path),
        "benchmark": request.benchmark,
        "files": list(packed.files),
        "taken": [file.as_dict() for file in packed.taken],
        "sha256": packed.sha256,
        "missing": [known.submission.file for known in report.missing],
        "left_out": [*report.left_out, *packed.left_out],
        "set_aside": str(packed.set_aside) if packed.set_aside else None,
        "sample": report.sample,
    }
    console.event({"event": "result", **result})
    return result


def _report(request: SubmitRequest) -> Report:
    return check_paths(
        request.paths,
        all_cards(),
        data=request.data,
        benchmark=request.benchmark,
        model=request.model,
        allow=request.allow,
    )


def _show(report: Report, console: Console) -> None:
    """Print one row per file, then warnings, what was left out and what is missing."""
    rows = [_row(file) for file in report.files]
    if rows and not console.quiet:
        console.table(["task", "", "file", "lines", "checked"], rows)
    for warning in report.warnings:
        console.warn(printable(warning))
    for line in report.left_out[:SHOWN]:
        console.say(f"left out: {printable(line)}")
    if len(report.left_out) > SHOWN:
        console.say(f"left out: {len(report.left_out) - SHOWN} more")
    if report.missing:
        lines = [
            f"  {known.submission.file}: clue train --task {known.card.name}, "
            f"or clue predict --task {known.card.name} --split test"
            for known in report.missing
        ]
        console.warn(
            f"{report.benchmark} lacks {len(report.missing)} files; a partial zip is allowed, "
            "but a new entry under an old model name wipes its score\n" + "\n".join(lines)
        )


def _row(file: FileReport) -> list[Any]:
    """Return a file's row of the table of checks."""
    task = file.known.card.name if file.known else "?"
    if file.problems:
        said = f"{len(file.problems)} problem{'s' if len(file.problems) > 1 else ''}, below"
    elif file.compared_with:
        said = f"ids and order as in {printable(file.compared_with)}, labels known"
    else:
        said = "count and labels; order not compared"
    return [task, "ok" if file.ok else "no", printable(file.piece.name), file.lines, said]


def _origin_row(file: FileReport) -> list[Any]:
    """Return a file's row of the table of origins."""
    run = file.piece.run
    name = file.known.submission.file if file.known else file.piece.name
    if run is None:
        return [name, f"none: {printable(str(Path(file.piece.shown).parent))}", None, None, None, None]
    score = None if run.score is None else f"{run.metric} {run.score:.2f}"
    data = printable(run.data or "the task's default")
    return [name, printable(str(run.folder)), printable(str(run.model)), _seed(run.seed), score, data]


def _seed(seed: int | None) -> str | None:
    """Return a seed for a table; an ensemble has none."""
    return None if seed is None else str(seed)
