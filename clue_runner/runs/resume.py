"""From the saved states of a run to the one it goes on from.

In: the run folder. Out: the newest whole state with its tensors read, or none where nothing was ever saved.
A damaged one is named, set aside, and the one before it is taken; where none is left the run stops, because
beginning again in silence would throw work away. What cannot be read just now is not damaged: the run stops
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
    """Return the newest whole state of a run; None where nothing was ever saved.

    A state counts only if the best state that it speaks of is whole as well: the run ends with that one.

    Raises:
        CheckpointError: states were saved and none can be used, or they are of another version.
        StorageError: a state cannot be read just now.
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
        CheckpointError: there is none yet, or it is damaged, or it is not the one that the result speaks of.
        StorageError: it cannot be read just now.
    """
    path = folder.best_state()
    if path is None:
        raise CheckpointError(
            "the run has no best state yet",
            where=str(folder.path),
            next_step="let it go on: the same clue train again",
        )
    try:
        snapshot = read_snapshot(path)
    except DamagedFileError as error:
        raise damaged_state(path, error) from error
    result = folder.result()
    if result is not None and result.ok and result.best_step != snapshot.step:
        raise CheckpointError(
            f"{BEST} names another state than the result",
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
        StorageError: it cannot be read just now.
    """
    try:
        snapshot = open_snapshot(path)
        snapshot.load()
    except DamagedFileError as error:
        raise damaged_state(path, error) from error
    return snapshot.tensors()


def _take_back_whole(root: Path, warn: Callable[[str], None]) -> None:
    """Look again at states that were set aside: one that proves whole was only unreadable for a while."""
    for aside in list_snapshots(root, CORRUPT + PREFIX):
        if aside.with_name(aside.name.removeprefix(CORRUPT)).exists():
            continue
        try:
            read_snapshot(aside)
        except (DamagedFileError, CheckpointError, StorageError):
            continue
        warn(f"{aside} is whole: taken back as {take_back(aside).name}")


def _refuse_older_version(folder: RunFolder, snapshot: Snapshot) -> None:
    """Refuse to go on with updates that would draw other dropout masks than the ones before."""
    if snapshot.state.schema_ == SCHEMA or snapshot.state.progress.ended is not None:
        return
    ask = f"clue predict --run {folder.path} answers with its best state so far"
    raise CheckpointError(
        f"an earlier version of clue-runner began this run and saved it at step {snapshot.step}: what came "
        "after would be another run, since dropout is drawn by other keys now",
        where=str(snapshot.folder / STATE_FILE),
        received=f"schema {snapshot.state.schema_}",
        allowed=f"schema {SCHEMA}",
        next_step=ANEW + ("" if snapshot.state.progress.best_step is None else f"; {ask}"),
    )


def _problem_of_best(root: Path, snapshot: Snapshot) -> Problem | None:
    """Return what is wrong with the best state that a state speaks of."""
    best = snapshot.state.progress.best_step
    if best is None or best == snapshot.step:
        return None
    path = root / f"{PREFIX}{best}"
    try:
        if path.is_dir():
            read_snapshot(path)
            return None
        reason = "it is not there"
    except DamagedFileError as error:
        reason = str(error)
    return Problem(f"its best state, {path.name}, cannot be used: {reason}", where=str(snapshot.folder))


def _say_gone(root: Path, snapshot: Snapshot, warn: Callable[[str], None]) -> None:
    """Say that a newer state than the one that is left was saved."""
    try:
        last = pointed(root, LAST)
    except DamagedFileError:
        return  # it is written anew when the run goes on
    if last is None or last.exists() or (root / f"{CORRUPT}{last.name}").exists():
        return
    if int(last.name.removeprefix(PREFIX)) > snapshot.step:
        warn(f"{last} is gone; going on from {snapshot.folder.name}")


def _saved_before(folder: RunFolder) -> str | None:
    """Return what says that this run has saved states; None where nothing does."""
    for name in (LAST, BEST):
        if (folder.checkpoints / name).exists():
            return f"there is a file {folder.checkpoints / name}"
    steps = [event.step for event in read_events(folder.events) if isinstance(event, Save)]
    if steps:
        return f"{folder.events} speaks of {PREFIX}{steps[-1]}"
    aside = list_snapshots(folder.checkpoints, CORRUPT + PREFIX)
    return f"{aside[0]} was set aside" if aside else None
