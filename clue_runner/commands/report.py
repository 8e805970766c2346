"""``clue report``: the page of a run or of a suite, or a run's model card.

In: folders that a user named, plain options. Out: files, and their paths.
Knows nothing about argv, or about the content of a page.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from clue_runner.console import Console
from clue_runner.errors import CheckpointError, DataError, UsageError
from clue_runner.files.names import user_path
from clue_runner.files.reading import exists
from clue_runner.reports.card import write_card
from clue_runner.reports.run_page import PageOptions
from clue_runner.reports.suite_page import TABLE, write_suite_page
from clue_runner.reports.words import Language, default_language
from clue_runner.reports.write import write_run_page
from clue_runner.runs.find import finished_runs, newest_finished
from clue_runner.runs.folder import RunFolder

ROOT = Path("runs")
SUITES = ROOT / "bench"  # where suites are looked up by name


@dataclass(frozen=True)
class ReportRequest:
    """The options of ``clue report``, named as on the command line."""

    paths: Sequence[Path] = ()
    output: Path | None = None
    language: Language | None = None
    no_texts: bool = False
    card: bool = False
    data: str | None = None


def fulfil(request: ReportRequest, console: Console) -> list[Path]:
    """Write the pages or cards asked for; return the files.

    Raises:
        UsageError: one ``--output`` for several, or a card of a suite.
        DataError: no such folder.
        CheckpointError: a folder without a finished run.
    """
    given = [user_path(path) for path in request.paths]
    if not given:
        given = [newest_finished(ROOT, warn=console.warn).folder.path]
    targets = [target for path in given for target in _targets(path, console)]
    if request.output is not None and len(targets) > 1:
        raise UsageError(
            f"--output names one file, but there are {len(targets)} pages to write",
            received=", ".join(map(str, targets[:5])),
            next_step="omit --output: each page is written into its own folder",
        )
    written = [_write(target, request, console) for target in targets]
    console.event({"event": "result", "ok": True, "files": [str(path) for path in written]})
    return written


def _write(target: Path, request: ReportRequest, console: Console) -> Path:
    """Write one page or card, and print its path."""
    output = None if request.output is None else user_path(request.output)
    options = PageOptions(request.language or default_language(), texts=not request.no_texts)
    if target.name == TABLE:
        if request.card:
            raise UsageError("a model card is about one run", received=str(target), next_step="name a run")
        page = write_suite_page(target, options.language, output)
    else:
        folder = RunFolder(target)
        result = folder.result()
        if result is None:
            raise CheckpointError(
                "no run in this folder has finished",
                where=str(target),
                next_step="continue it: run the same clue train command again",
            )
        if request.card:
            page = write_card(folder, result, output)
        else:
            page = write_run_page(
                folder, result, options, data=request.data, output=output, warn=console.warn
            )
    console.result(str(page))
    return page


def _targets(path: Path, console: Console) -> list[Path]:
    """Return the run folders and suite tables that a path stands for."""
    if path.name == TABLE and path.is_file():
        return [path]
    if not path.is_dir() and exists(SUITES / path / TABLE):
        return [SUITES / path / TABLE]
    if not path.is_dir():
        raise DataError(
            "no such run or suite", where=str(path), next_step="name a folder of clue train or clue bench"
        )
    if exists(path / TABLE):
        return [path / TABLE]
    if exists(RunFolder(path).settings):
        return [path]
    runs = [run.folder.path for run in finished_runs(path, warn=console.warn)]
    if not runs:
        raise CheckpointError(
            "no finished run in this folder",
            where=str(path),
            next_step="name a folder of clue train or clue bench",
        )
    return sorted(runs)
