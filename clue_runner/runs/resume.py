"""Chooses the saved state that a run continues from.

In: the run folder. Out: the newest complete state with its tensors read, or none if nothing was ever saved.
A damaged one is named, set aside, and the one before it is used; if none is left the run stops, because
silently starting over would throw work away. What cannot be read now is not damaged: the run stops
and nothing is touched. Knows nothing about engines.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from clue_runner.errors import CheckpointError, Problem, StorageError
from clue_runner.files.reading import DamagedFileError
from clue_runner.files.tensors import State
from clue_runner.runs.events import Save, read_events
from clue_runner.runs.folder import RunFolder
from clue_runner.runs.snapshots import BEST, LAST, list_snapshots, pointed, set_aside, take_back
from clue_runner.runs.states import (
    ANEW,
    CORRUPT,
    PREFIX,
    SCHEMA,
    STATE_FILE,
    Snapshot,
    damaged_state,
    open_snapshot,
    read_snapshot,
)


def newest_state(folder: RunFolder, warn: Callable[[str], None]) -> Snapshot | None:
    """Return the newest complete state of a run; None if nothing was ever saved.

    A state counts only if the best state that it refers to is complete as well: the run ends with that one.

    Raises:
        CheckpointError: states were saved and none can be used, or they are of another version.
        StorageError: a state cannot be read now.
    """
    root = folder.checkpoints
    _take_back_whole(root, warn)
    problems: list[Problem] = []
    for path in list_snapshots(root):
        try:
            snapshot = open_snapshot(path)
            _refuse_older_version(folder, snapshot)
            snapshot.load()
        except DamagedFileError as error:
            aside = set_aside(path)
            problems.append(Problem(str(error), where=str(aside)))
            warn(f"{path}: {error}; set aside as {aside.name}, falling back to an older state")
            continue
        problem = _problem_of_best(root, snapshot)
        if problem is None:
            _say_gone(root, snapshot, warn)
            return snapshot
        problems.append(problem)
    saved = _saved_before(folder)
    if problems or saved:
        raise CheckpointError(
            "no saved state of this run can be used",
            where=str(root),
            problems=problems or [Problem(f"the saved states are gone: {saved}", where=str(root))],
            next_step=f"put a copy of {root} back where there is one, or {ANEW}",
        )
    return None


def best_snapshot(folder: RunFolder) -> Snapshot:
    """Return the best saved state of a run after checking it.

    Raises:
        CheckpointError: there is none yet, or it is damaged, or it is not the one that the result refers to.
        StorageError: it cannot be read now.
    """
    path = folder.best_state()
    if path is None:
        raise CheckpointError(
            "the run has no best state yet",
            where=str(folder.path),
            next_step="continue it: run the same clue train command again",
        )
    try:
        snapshot = read_snapshot(path)
    except DamagedFileError as error:
        raise damaged_state(path, error) from error
    result = folder.result()
    if result is not None and result.ok and result.best_step != snapshot.step:
        raise CheckpointError(
            f"{BEST} names a different state than the result",
            where=str(folder.checkpoints / BEST),
            received=path.name,
            allowed=f"{PREFIX}{result.best_step}",
            next_step=f"write {PREFIX}{result.best_step} into that file, or {ANEW}",
        )
    return snapshot


def load_tensors(path: Path) -> State:
    """Return the tensors of a saved state, each file read once and compared with the manifest.

    Raises:
        CheckpointError: it is damaged.
        StorageError: it cannot be read now.
    """
    try:
        snapshot = open_snapshot(path)
        snapshot.load()
    except DamagedFileError as error:
        raise damaged_state(path, error) from error
    return snapshot.tensors()


def _take_back_whole(root: Path, warn: Callable[[str], None]) -> None:
    """Check again states that were set aside: one that proves complete was only temporarily unreadable."""
    for aside in list_snapshots(root, CORRUPT + PREFIX):
        if aside.with_name(aside.name.removeprefix(CORRUPT)).exists():
            continue
        try:
            read_snapshot(aside)
        except (DamagedFileError, CheckpointError, StorageError):
            continue
        warn(f"{aside} is complete: restored as {take_back(aside).name}")


def _refuse_older_version(folder: RunFolder, snapshot: Snapshot) -> None:
    """Refuse to continue with updates that would draw different dropout masks than before."""
    if snapshot.state.schema_ == SCHEMA or snapshot.state.progress.ended is not None:
        return
    ask = f"or predict with its best state so far: clue predict --run {folder.path}"
    raise CheckpointError(
        f"an earlier version of clue-runner saved this run at step {snapshot.step}; going on would make a "
        "different run, since dropout masks are drawn with other keys now",
        where=str(snapshot.folder / STATE_FILE),
        received=f"schema {snapshot.state.schema_}",
        allowed=f"schema {SCHEMA}",
        next_step=ANEW + ("" if snapshot.state.progress.best_step is None else f"; {ask}"),
    )


def _problem_of_best(root: Path, snapshot: Snapshot) -> Problem | None:
    """Return the problem of the best state that a state refers to."""
    best = snapshot.state.progress.best_step
    if best is None or best == snapshot.step:
        return None
    path = root / f"{PREFIX}{best}"
    try:
        if path.is_dir():
            read_snapshot(path)
            return None
        reason = "it does not exist"
    except DamagedFileError as error:
        reason = str(error)
    return Problem(f"its best state, {path.name}, cannot be used: {reason}", where=str(snapshot.folder))


def _say_gone(root: Path, snapshot: Snapshot, warn: Callable[[str], None]) -> None:
    """Warn that a newer state than the remaining one was saved."""
    try:
        last = pointed(root, LAST)
    except DamagedFileError:
        return  # it is written again when the run continues
    if last is None or last.exists() or (root / f"{CORRUPT}{last.name}").exists():
        return
    if int(last.name.removeprefix(PREFIX)) > snapshot.step:
        warn(f"{last} is gone; continuing from {snapshot.folder.name}")


def _saved_before(folder: RunFolder) -> str | None:
    """Return the evidence that this run has saved states; None if there is none."""
    for name in (LAST, BEST):
        if (folder.checkpoints / name).exists():
            return f"there is a file {folder.checkpoints / name}"
    steps = [event.step for event in read_events(folder.events) if isinstance(event, Save)]
    if steps:
        return f"{folder.events} mentions {PREFIX}{steps[-1]}"
    aside = list_snapshots(folder.checkpoints, CORRUPT + PREFIX)
    return f"{aside[0]} was set aside" if aside else None
