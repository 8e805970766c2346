"""Runs below a folder: the finished ones, the newest of them, and the content of a named one.

In: a path. Out: run folders with their results, settings, the folder of the best state.
A folder that ``--fresh`` has moved aside is never found, nor is anything below it.
Knows nothing about networks, or about what submission files should hold.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from clue_runner.config.schema import Run
from clue_runner.config.sections import Sections
from clue_runner.errors import CheckpointError, ClueError, DataError
from clue_runner.files.names import user_path
from clue_runner.files.reading import exists
from clue_runner.runs.folder import RunFolder
from clue_runner.runs.results import RunResult

SET_ASIDE = re.compile(r"\.old-[0-9]+$")


@dataclass(frozen=True)
class FinishedRun:
    """A run that finished with a score; ``ended``: the time, in nanoseconds of the disk's clock."""

    folder: RunFolder
    result: RunResult
    ended: int


def finished_runs(
    root: Path, task: str | None = None, *, warn: Callable[[str], None] = lambda text: None
) -> list[FinishedRun]:
    """Return the runs below ``root`` that finished with a score, the newest first.

    Args:
        root: may be a run folder itself, or absent.
        task: name of the card; None: any.
        warn: told which results cannot be read; those runs are skipped.
    """
    runs = []
    for path in _folders(root):
        folder = RunFolder(path)
        try:
            if not (exists(folder.metrics) and exists(folder.settings)):
                continue
            result = folder.result()
            ended = folder.metrics.stat().st_mtime_ns
        except (ClueError, OSError) as error:
            warn(f"skipped: {error}")
            continue
        if result is not None and result.ok and task in {None, result.task}:
            runs.append(FinishedRun(folder, result, ended))
    return sorted(runs, key=lambda run: (run.ended, run.folder.path), reverse=True)


def newest_finished(
    root: Path, task: str | None = None, *, warn: Callable[[str], None] = lambda text: None
) -> FinishedRun:
    """Return the newest run below ``root`` that finished with a score.

    Raises:
        CheckpointError: there are none.
    """
    runs = finished_runs(root, task, warn=warn)
    if not runs:
        raise CheckpointError(
            f"no finished run{f' of {task}' if task else ''} found",
            where=str(root),
            next_step=f"clue train --task {task or 'NAME'}, or name a run folder with --run",
        )
    return runs[0]


def submission_folders(root: Path) -> list[Path]:
    """Return the folders below ``root`` with submission files: of a run, a borrowed head or an ensemble."""
    return [folder for path in _folders(root) if _is_folder(folder := RunFolder(path).submission)]


def load_run(path: str | Path, sections: Sections) -> Run:
    """Return the settings of the run in a folder.

    Raises:
        DataError: no such folder.
        CheckpointError: no run in it, or damaged settings.
    """
    folder = open_run(path)
    run = folder.run(sections)
    if run is None:
        raise CheckpointError(
            "no run in this folder", where=str(folder.path), allowed="a folder with a run.yaml"
        )
    return run


def load_result(path: str | Path) -> RunResult:
    """Return the result of the run in a folder; ``ok`` tells whether it has a score.

    Raises:
        DataError: no such folder.
        CheckpointError: the run has not finished, or its result is damaged.
    """
    folder = open_run(path)
    result = folder.result()
    if result is None:
        raise CheckpointError(
            "no run in this folder has finished",
            where=str(folder.path),
            next_step="continue it: run the same clue train command again",
        )
    return result


def open_run(path: str | Path) -> RunFolder:
    """Return the run folder that a user named.

    Raises:
        DataError: no such folder.
    """
    folder = user_path(path)
    if not folder.is_dir():
        raise DataError(
            "no such run folder",
            where=str(path),
            next_step="name an existing run folder, such as runs/TASK/MODEL-SEED",
        )
    return RunFolder(folder)


def _is_folder(path: Path) -> bool:
    """Return whether a path is a folder; one that cannot be looked at does not count, nor does a link."""
    try:
        return path.is_dir() and not path.is_symlink()
    except OSError:
        return False


def _folders(root: Path) -> Iterator[Path]:
    """Yield ``root`` and the folders below it that may be run folders, in a fixed order."""
    inner = {RunFolder.CHECKPOINTS, RunFolder.PREDICTIONS, RunFolder.SUBMISSION}
    for place, names, _ in os.walk(root):
        yield Path(place)
        names[:] = sorted(
            name
            for name in names
            if name not in inner and not name.startswith(".") and not SET_ASIDE.search(name)
        )
