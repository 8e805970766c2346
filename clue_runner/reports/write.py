"""Writes the page of a run, and mistakes.jsonl next to it, each atomically.

In: a run folder. Out: the files. Knows nothing about argv.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from clue_runner.data.cards import find_card
from clue_runner.errors import DataError
from clue_runner.files.atomic import make_folder, write_atomic
from clue_runner.reports.answers import Answered, read_answered, with_lengths
from clue_runner.reports.run_page import PageOptions, make_run_page
from clue_runner.runs.folder import PAGE, RunFolder
from clue_runner.runs.results import RunResult

MISTAKES = "mistakes.jsonl"


def write_run_page(
    folder: RunFolder,
    result: RunResult,
    options: PageOptions,
    *,
    answered: Answered | None = None,
    data: str | None = None,
    output: Path | None = None,
    warn: Callable[[str], None],
) -> Path:
    """Write ``report.html`` and ``mistakes.jsonl``; return the page's path.

    Args:
        folder: that of the run.
        result: its result, or the reason why it failed.
        options: language, texts.
        answered: dev with its predictions; None: they are read.
        data: ``--data``; None: the data that the run used.
        output: the page; None: in the run folder. ``mistakes.jsonl`` is next to it.
        warn: called with the reason if the mistakes are missing because data is not available.

    Raises:
        DataError: ``data`` was given and does not match.
        CheckpointError: files of the run are damaged.
        StorageError: the disk refused.
    """
    missing = None
    if answered is None and result.ok:
        try:
            answered = with_lengths(read_answered(folder, result, data), folder, warn)
        except DataError as error:
            if data is not None:
                raise
            missing = str(error.headline)
            warn(f"the page lacks the mistakes: {error}")
    card = answered.adapter.card if answered is not None else find_card(_task(folder, result))
    made = make_run_page(folder, result, card, answered, options, missing)
    page = output or folder.path / PAGE
    make_folder(page.absolute().parent)
    write_atomic(page, made.html.encode())
    if made.mistakes is not None:
        write_atomic(page.with_name(MISTAKES), made.mistakes)
    return page


def _task(folder: RunFolder, result: RunResult) -> str:
    """Return the task as named in a run's settings: a card's name, or its folder."""
    values = folder.values() or {}
    return str(values.get("task.name", result.task))
