"""The run folder: which file lies where, who may write it, and whether the same run began in it.

In: a path, the settings and the data's hashes. Out: an open ``RunFolder`` and how the run stands in it:
new, unfinished or finished. Knows nothing about tensors or scores.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from pydantic import ValidationError

from clue_runner.config.loader import difference, dump_run, load_resolved
from clue_runner.config.schema import Run
from clue_runner.errors import CheckpointError, DataError, Problem, UsageError
from clue_runner.files.atomic import TEMPORARY, disk_faults, probe_folder, write_atomic
from clue_runner.files.lock import FolderLock
from clue_runner.files.reading import DamagedFileError, read_file
from clue_runner.runs.results import RunResult, describe, read_result
from clue_runner.runs.snapshots import BEST, list_snapshots, pointed, sweep

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
    """Paths of one run, and what its files hold."""

    path: Path

    CHECKPOINTS: ClassVar[str] = "checkpoints"
    PREDICTIONS: ClassVar[str] = "predictions"
    SUBMISSION: ClassVar[str] = "submission"

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
        return self.path / self.CHECKPOINTS

    @property
    def predictions(self) -> Path:
        """Return the folder of ``<split>.jsonl``."""
        return self.path / self.PREDICTIONS

    @property
    def submission(self) -> Path:
        """Return the folder of files under their official names."""
        return self.path / self.SUBMISSION

    def result(self) -> RunResult | None:
        """Return what the run found; None where it has not ended.

        Raises:
            CheckpointError: the file is damaged.
            StorageError: it cannot be read just now.
        """
        return read_result(self.metrics)

    def run(self) -> Run | None:
        """Return the settings of the run in this folder; None where there is none.

        Raises:
            CheckpointError: the file is damaged.
            StorageError: it cannot be read just now.
        """
        try:
            read_file(self.settings)
            return load_resolved(self.settings)
        except FileNotFoundError:
            return None
        except DamagedFileError as error:
            raise _damaged(self.settings, str(error)) from error
        except (UsageError, DataError) as error:
            findings = "; ".join(map(str, error.problems[:3])) or str(error.headline)
            raise _damaged(self.settings, f"cannot be used: {findings}") from error
        except ValidationError as error:
            raise _damaged(self.settings, f"cannot be used: {describe(error)}") from error

    def best_state(self) -> Path | None:
        """Return the folder of the best saved state, unchecked; None where none was kept yet.

        Raises:
            CheckpointError: the file that names it is damaged, or names a folder that is not there.
            StorageError: it cannot be read just now.
        """
        pointer = self.checkpoints / BEST
        try:
            best = pointed(self.checkpoints, BEST)
        except DamagedFileError as error:
            raise _damaged(pointer, str(error)) from error
        if best is not None and not best.is_dir():
            raise _damaged(pointer, f"names {best.name}, which is not there")
        return best

    @property
    def finished(self) -> bool:
        """Return whether a run ended here with a score."""
        result = self.result()
        return result is not None and result.ok


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
    result = folder.result()
    return dict(result.data_sha256) if result and result.data_sha256 else None


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
        f"a file of the run {reason}",
        where=str(path),
        next_step="begin anew with --fresh (the old folder is kept), or take another folder with --output",
    )
