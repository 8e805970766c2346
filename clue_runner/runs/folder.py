"""The run folder: which file lies where, who may write it, and whether the same run began in it.

In: a path, the settings and the data's hashes. Out: an open ``RunFolder`` and how the run stands in it:
new, unfinished or finished. Knows nothing about tensors or scores.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clue_runner.config.loader import difference, dump_run, load_resolved
from clue_runner.config.schema import Run
from clue_runner.errors import CheckpointError, ClueError, Problem, UsageError
from clue_runner.files.lock import FolderLock
from clue_runner.runs.snapshots import list_snapshots, sweep
from clue_runner.files.atomic import TEMPORARY, disk_faults, probe_folder, write_atomic

# Settings that change neither weights nor answers: a run may go on with other values.
FREE_SETTINGS = frozenset({"data.cache", "train.save_minutes", "train.save_steps", "output.keep_checkpoints"})
# Files that decide the weights. Test files do not: one that comes later changes nothing that was learnt.
DECISIVE = ("train", "dev", "vocabulary")
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


@dataclass(frozen=True)
class RunFolder:
    """Paths of one run."""

    path: Path

    @property
    def settings(self) -> Path:
        """Return ``run.yaml``: the resolved settings."""
        return self.path / "run.yaml"

    @property
    def events(self) -> Path:
        """Return ``events.jsonl``: what happened."""
        return self.path / "events.jsonl"

    @property
    def metrics(self) -> Path:
        """Return ``metrics.json``: there only when the run has ended."""
        return self.path / "metrics.json"

    @property
    def checkpoints(self) -> Path:
        """Return the folder of saved states."""
        return self.path / "checkpoints"

    @property
    def predictions(self) -> Path:
        """Return the folder of ``<split>.jsonl``."""
        return self.path / "predictions"

    @property
    def submission(self) -> Path:
        """Return the folder of files under their official names."""
        return self.path / "submission"

    def results(self) -> dict[str, Any] | None:
        """Return ``metrics.json``; None where the run has not ended.

        Raises:
            CheckpointError: the file is damaged.
        """
        try:
            content = json.loads(self.metrics.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise _damaged(self.metrics, str(error)) from error
        if not isinstance(content, dict):
            raise _damaged(self.metrics, "not an object")
        return content

    def run(self) -> Run | None:
        """Return the settings of the run in this folder; None where there is none.

        Raises:
            CheckpointError: the file is damaged.
        """
        if not self.settings.exists():
            return None
        try:
            return load_resolved(self.settings)
        except ClueError as error:
            raise _damaged(self.settings, str(error.headline)) from error

    @property
    def finished(self) -> bool:
        """Return whether a run ended here with a score."""
        results = self.results()
        return results is not None and bool(results.get("ok"))


def seed_folder(output: Path, seed: int) -> RunFolder:
    """Return the folder of one seed, where several are trained into one output."""
    return RunFolder(output / f"seed-{seed}")


def open_folder(
    path: Path, run: Run, identity: Mapping[str, str], *, fresh: bool
) -> tuple[RunFolder, FolderLock]:
    """Return the folder of a run, locked, probed, swept, and known to hold this run or none.

    Args:
        path: ``--output`` or its default.
        run: the settings now.
        identity: hashes of what the weights follow from (``DECISIVE``); others are ignored.
        fresh: move what is there aside first.

    Raises:
        StorageError: it cannot be written.
        BusyError: another process writes it.
        CheckpointError: another run, or the same one on other data, began in it.
        UsageError: it is somebody else's folder.
    """
    probe_folder(path)
    lock = FolderLock(path).acquire()
    try:
        if fresh:
            lock = _move_aside(path, lock)
        folder = RunFolder(path)
        _refuse_foreign(path)
        _refuse_difference(folder, run, identity)
        sweep(folder.checkpoints)
        for place in (path, folder.predictions, folder.submission):
            _sweep_files(place)
    except BaseException:
        lock.release()
        raise
    return folder, lock


def write_settings(folder: RunFolder, run: Run) -> None:
    """Write ``run.yaml``."""
    write_atomic(folder.settings, dump_run(run).encode())


def saved_data(folder: RunFolder) -> Mapping[str, str] | None:
    """Return the hashes of the data that the run in this folder was trained on; None where unknown."""
    for snapshot in list_snapshots(folder.checkpoints):
        try:
            state = json.loads((snapshot / "state.json").read_text(encoding="utf-8"))
            return {**state["data_sha256"], "vocabulary": state["vocabulary_sha256"]}
        except (OSError, ValueError, KeyError, TypeError):
            continue  # a corrupt state is dealt with when one is to be loaded
    results = folder.results()
    return dict(results["data_sha256"]) if results and results.get("data_sha256") else None


def _refuse_foreign(path: Path) -> None:
    """Refuse a folder that holds something and no run."""
    names = {entry.name for entry in path.iterdir() if not entry.name.startswith(TEMPORARY)}
    strangers = sorted(names - OWN_NAMES)
    if strangers and "run.yaml" not in names:
        raise UsageError(
            "the output folder holds other files and no run",
            where=str(path),
            received=", ".join(strangers[:5]) + (", ..." if len(strangers) > 5 else ""),
            next_step="name a new or an empty folder with --output",
        )


def _refuse_difference(folder: RunFolder, run: Run, identity: Mapping[str, str]) -> None:
    """Refuse to go on with other settings or other data, field by field."""
    old = folder.run()
    if old is None:
        return
    problems = [one for one in difference(old, run) if one.where not in FREE_SETTINGS]
    before = saved_data(folder) or {}
    problems += [
        Problem(
            f"the file has changed: sha256 was {before[split][:12]}, is now {now[:12]}",
            where=f"data: {split}",
        )
        for split in DECISIVE
        if (now := identity.get(split, "")) != before.get(split, now)
    ]
    if problems:
        raise CheckpointError(
            "another run is in this folder",
            where=str(folder.path),
            problems=problems,
            next_step="take another folder with --output, or begin anew with --fresh (the old one is kept)",
        )


def _move_aside(path: Path, lock: FolderLock) -> FolderLock:
    """Rename the folder to ``<name>.old-<n>`` and return the lock of a new one in its place."""
    if not any(entry.name != "lock" for entry in path.iterdir()):
        return lock
    number = 1
    while (aside := path.with_name(f"{path.name}.old-{number}")).exists():
        number += 1
    with disk_faults(path):
        path.rename(aside)
        lock.path = aside / "lock"
        path.mkdir(exist_ok=True)
    fresh = FolderLock(path).acquire()
    lock.release()
    return fresh


def _sweep_files(folder: Path) -> None:
    """Remove files that a killed writer left half done."""
    with disk_faults(folder):
        for leftover in folder.glob(f"{TEMPORARY}*"):
            if leftover.is_file():
                leftover.unlink(missing_ok=True)


def _damaged(path: Path, reason: str) -> CheckpointError:
    """Return the error for a file of the run folder that cannot be read."""
    return CheckpointError(
        f"a file of the run is damaged: {reason}",
        where=str(path),
        next_step="begin anew with --fresh (the old folder is kept), or take another folder with --output",
    )
