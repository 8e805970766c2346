"""From the saved states of a run to the one it goes on from.

In: the folder of saved states. Out: the newest whole state, or none where nothing was ever saved.
A corrupt one is named, set aside, and the one before it is taken; where all are corrupt the run stops,
because beginning again in silence would throw work away. Knows nothing about engines.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from clue_runner.errors import CheckpointError, Problem
from clue_runner.runs.progress import Progress
from clue_runner.runs.snapshots import (
    LAST,
    PREFIX,
    Snapshot,
    list_snapshots,
    read_snapshot,
    set_aside,
)


def newest_state(root: Path, warn: Callable[[str], None]) -> Snapshot | None:
    """Return the newest whole state of a run; None where nothing was ever saved.

    A state counts only if the best state that it speaks of is whole as well: the run ends with that one.

    Raises:
        CheckpointError: states were saved and none can be used.
    """
    problems: list[Problem] = []
    usable: list[Snapshot] = []
    for folder in list_snapshots(root):
        try:
            usable.append(read_snapshot(folder))
        except (ValueError, KeyError, TypeError) as error:
            problems.append(Problem(str(error), where=str(folder)))
            aside = set_aside(folder)
            warn(f"{folder}: {error}; set aside as {aside.name}, falling back to an older state")
    whole = {snapshot.folder.name for snapshot in usable}
    for snapshot in usable:
        best = Progress.from_json(snapshot.state["progress"]).best_step
        if best is None or f"{PREFIX}{best}" in whole:
            return snapshot
        problems.append(
            Problem(f"the best state, {PREFIX}{best}, is missing or corrupt", where=str(snapshot.folder))
        )
    if problems or (root / LAST).exists():
        raise CheckpointError(
            "no saved state of this run can be used",
            where=str(root),
            problems=problems or [Problem("the saved states are gone", where=str(root))],
            next_step="begin anew with --fresh (the old folder is kept)",
        )
    return None
