"""A run folder opened for writing: locked, cleaned of leftovers, and known to hold this run or none.

In: a path, the settings and the identity now. Out: the folder and its lock, or the differences, in words.
Knows nothing about tensors or scores.
"""

from __future__ import annotations

import re
from pathlib import Path

from clue_runner.config.loader import difference
from clue_runner.config.schema import Run
from clue_runner.config.sections import Sections
from clue_runner.errors import CheckpointError, UsageError
from clue_runner.files.atomic import TEMPORARY, disk_faults, probe_folder
from clue_runner.files.lock import FolderLock
from clue_runner.files.reading import DamagedFileError, exists
from clue_runner.runs.folder import RunFolder
from clue_runner.runs.identity import Identity, identity_differences
from clue_runner.runs.snapshots import list_snapshots, sweep
from clue_runner.runs.states import open_snapshot

# Settings that change neither weights nor answers: a run may continue with other values.
FREE_SETTINGS = frozenset({"data.cache", "train.save_minutes", "train.save_steps", "output.keep_checkpoints"})
OWN_NAMES = frozenset(
    {
        "run.yaml",
        "events.jsonl",
        "metrics.json",
        "checkpoints",
        "predictions",
        "submission",
        "submit-sample.zip",
        "report.html",
        "lock",
    }
)
# Names that our own writers use, in this version and older ones; a user's file may begin alike.
LEFT_OVER = re.compile(re.escape(TEMPORARY) + r"([0-9a-f]{16}|[a-z0-9_]{8}|probe-[0-9]+)")


def open_folder(
    path: Path, run: Run, identity: Identity, sections: Sections, *, fresh: bool
) -> tuple[RunFolder, FolderLock]:
    """Return the folder of a run, locked, probed, cleaned, and known to hold this run or none.

    Args:
        path: ``--output`` or its default.
        run: the settings now.
        identity: what the weights depend on besides.
        sections: the settings specific to kinds of tasks and to families.
        fresh: move the existing content aside first.

    Raises:
        StorageError: it cannot be written.
        BusyError: another process writes it.
        CheckpointError: it holds another run: other settings, data, weights, or another card.
        UsageError: it holds other files.
    """
    lock = FolderLock(path).acquire()
    try:
        _refuse_foreign(path)
        if fresh:
            lock = _move_aside(path, lock)
        probe_folder(path)  # under the lock: opening a folder removes what looks like leftovers
        folder = RunFolder(path)
        _refuse_difference(folder, run, identity, sections)
        sweep(folder.checkpoints)
        for place in (path, folder.predictions, folder.submission):
            _sweep_files(place)
    except BaseException:
        lock.release()
        raise
    return folder, lock


def check_folder(path: Path, run: Run, identity: Identity, sections: Sections, *, fresh: bool) -> None:
    """Refuse what ``open_folder`` would refuse about a folder's content; nothing is locked or written.

    Raises:
        CheckpointError, UsageError: as ``open_folder``.
        StorageError: it cannot be read now.
    """
    with disk_faults(path):
        there = path.is_dir()
    if there:
        _refuse_foreign(path)
    if there and not fresh:
        _refuse_difference(RunFolder(path), run, identity, sections)


def saved_identity(folder: RunFolder) -> Identity:
    """Return the known identity of the run in a folder: from its result, else from its newest state.

    Raises:
        CheckpointError: a damaged result.
        StorageError: a file cannot be read now.
    """
    result = folder.result()
    if result is not None and result.identity is not None:
        return result.identity
    for path in list_snapshots(folder.checkpoints):
        try:
            return open_snapshot(path).state.identity
        except DamagedFileError:
            continue  # handled when one is to be loaded
    return Identity(data=result.data_sha256) if result is not None else Identity()


def _refuse_foreign(path: Path) -> None:
    """Refuse a folder that is not empty and holds no run."""
    with disk_faults(path):
        names = {entry.name for entry in path.iterdir() if not entry.name.startswith(TEMPORARY)}
    strangers = sorted(names - OWN_NAMES)
    if strangers and "run.yaml" not in names:
        raise UsageError(
            "the output folder contains other files but no run",
            where=str(path),
            received=", ".join(strangers[:5]) + (", ..." if len(strangers) > 5 else ""),
            next_step="name a new or an empty folder with --output",
        )


def _refuse_difference(folder: RunFolder, run: Run, identity: Identity, sections: Sections) -> None:
    """Refuse to continue as another run; each difference is named."""
    old = folder.run(sections)
    if old is None:
        return
    problems = [one for one in difference(old, run) if one.where not in FREE_SETTINGS]
    problems += identity_differences(saved_identity(folder), identity)
    if problems:
        raise CheckpointError(
            "the folder contains another run",
            where=str(folder.path),
            problems=problems,
            next_step="restore what differs, use another folder with --output or --name, "
            "or start over with --fresh (the old folder is kept)",
        )


def _move_aside(path: Path, lock: FolderLock) -> FolderLock:
    """Rename the folder to ``<name>.old-<n>`` and return the lock of a new one in its place."""
    if not any(entry.name != "lock" for entry in path.iterdir()):
        return lock
    number = 1
    while exists(aside := path.with_name(f"{path.name}.old-{number}")):
        number += 1
    with disk_faults(path):
        path.rename(aside)
        lock.path = aside / "lock"
        path.mkdir(exist_ok=True)
    fresh = FolderLock(path).acquire()
    lock.release()
    return fresh


def _sweep_files(folder: Path) -> None:
    """Remove files that a killed writer left unfinished."""
    with disk_faults(folder):
        for leftover in folder.glob(f"{TEMPORARY}*"):
            if LEFT_OVER.fullmatch(leftover.name) and leftover.is_file():
                leftover.unlink(missing_ok=True)
