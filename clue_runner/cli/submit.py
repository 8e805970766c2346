"""``clue submit check`` and ``clue submit pack``: from prediction files to a zip that the board takes.

In: argv. Out: one line a file, problems with their fixes, the zip. Knows nothing about models;
imports no backend.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from clue_runner.cli.main import context_console

if TYPE_CHECKING:
    from clue_runner.console import Console
    from clue_runner.submission.report import FileReport, Report

BENCHMARKS = ("clue1.1", "clue1.0", "cluener", "fewclue")
UPLOAD_PAGE = "https://www.cluebenchmarks.com/submit.html"


@click.group(name="submit", help="Check submission files and pack them into one zip.")
def command() -> None:
    """Hold the two commands."""


PATHS = click.argument("paths", nargs=-1, type=click.Path(), metavar="[PATH]...")
BENCHMARK = click.option(
    "--benchmark",
    type=click.Choice(BENCHMARKS),
    default="clue1.1",
    show_default=True,
    help="Whose missing files are named, and whose files are packed.",
)
DATA = click.option(
    "--data",
    metavar="DIR|FILE|sample",
    help="Where the test files are: one task's folder or zip, or a folder of these.",
)
JSON = click.option("--json", is_flag=True, help="One JSON object a line on stdout.")


@command.command(name="check")
@PATHS
@BENCHMARK
@DATA
@JSON
@click.pass_context
def check(ctx: click.Context, paths: tuple[str, ...], benchmark: str, data: str | None, json: bool) -> None:
    """Check files, folders, runs or zips; without PATH the newest runs under ./runs."""
    console = context_console(ctx, json=json)
    report = _report(paths, benchmark, data)
    _show(report, console)
    problems = report.all_problems
    console.event({
        "event": "result",
        "ok": not problems,
        "benchmark": benchmark,
        "files": [file.as_dict() for file in report.files],
        "problems": [str(problem) for problem in problems],
        "missing": [one.submission.file for one in report.missing],
        "sample": report.sample,
    })  # fmt: skip
    if problems:
        from clue_runner.errors import DataError

        good = sum(file.ok for file in report.files)
        raise DataError(
            f"not ready for upload: {good} of {len(report.files)} files are in order",
            problems=problems,
            next_step="run the fixes named, then clue submit check again",
        )


@command.command(name="pack")
@PATHS
@BENCHMARK
@DATA
@JSON
@click.option("--output", type=click.Path(dir_okay=False), help="The zip; default submit.zip.")
@click.pass_context
def pack(
    ctx: click.Context,
    paths: tuple[str, ...],
    benchmark: str,
    data: str | None,
    json: bool,
    output: str | None,
) -> None:
    """Check, then write one flat zip: the same files give the same bytes."""
    from clue_runner.submission.pack import pack as pack_report

    console = context_console(ctx, json=json)
    report = _report(paths, benchmark, data)
    _show(report, console)
    packed = pack_report(report, Path(output) if output else None)
    for name in packed.left_out:
        console.say(f"left out, not part of {benchmark}: {name}")
    console.say(f"{packed.path}: {len(packed.files)} files, sha256 {packed.sha256}")
    console.say("sample records: not for upload" if report.sample else f"upload: {UPLOAD_PAGE}")
    console.event({
        "event": "result",
        "ok": True,
        "output": str(packed.path),
        "benchmark": benchmark,
        "files": list(packed.files),
        "sha256": packed.sha256,
        "missing": [one.submission.file for one in report.missing],
        "sample": report.sample,
    })  # fmt: skip


def _report(paths: tuple[str, ...], benchmark: str, data: str | None) -> Report:
    """Return the report over all cards."""
    from clue_runner.data.cards import all_cards
    from clue_runner.submission.report import check_paths

    return check_paths(paths, all_cards(), data=data, benchmark=benchmark)


def _show(report: Report, console: Console) -> None:
    """Print one row a file, then warnings and what is missing."""
    rows: list[list[Any]] = [_row(file) for file in report.files]
    if rows and not console.quiet:
        console.table(["task", "", "file", "lines", "checked"], rows)
    for warning in report.warnings:
        console.warn(warning)
    if report.missing:
        lines = [
            f"  {one.submission.file}: clue train --task {name}, or clue predict --task {name} --split test"
            for one, name in ((one, one.card.name) for one in report.missing)
        ]
        console.warn(
            f"not all of {report.benchmark}: {len(report.missing)} files missing; a partial zip is allowed, "
            "but a new entry under an old model name wipes its score\n" + "\n".join(lines)
        )


def _row(file: FileReport) -> list[Any]:
    """Return a file's row of the table."""
    task = file.known.card.name if file.known else "?"
    if file.problems:
        said = f"{len(file.problems)} problem{'s' if len(file.problems) > 1 else ''}, below"
    elif file.compared_with:
        said = f"ids and order as in {file.compared_with}, labels known"
    else:
        said = "count and labels; order not compared"
    return [task, "ok" if file.ok else "no", file.piece.name, file.lines, said]
