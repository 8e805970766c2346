"""The run folder: the place and content of each file.

In: a path. Out: settings, result and best state of the run in it. Nothing is locked or modified.
Knows nothing about tensors, or about who may write.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, TypeVar

from pydantic import ValidationError

from clue_runner.config.resolved import dump_run, flat, load_resolved, saved_values
from clue_runner.config.schema import Run
from clue_runner.config.sections import Sections
from clue_runner.errors import CheckpointError, DataError, UsageError
from clue_runner.files.atomic import write_atomic
from clue_runner.files.reading import DamagedFileError, exists, read_file
from clue_runner.runs.results import RunResult, describe, read_result
from clue_runner.runs.snapshots import BEST, pointed

PAGE = "report.html"  # written at the end, and by clue report
ReadT = TypeVar("ReadT")


@dataclass(frozen=True)
class RunFolder:
    """Paths of one run, and the content of its files."""

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
        """Return ``events.jsonl``: the events of the run."""
        return self.path / "events.jsonl"

    @property
    def metrics(self) -> Path:
        """Return ``metrics.json``, which exists only when the run has finished."""
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
        """Return the result of the run; None if it has not finished.

        Raises:
            CheckpointError: the file is damaged.
            StorageError: it cannot be read now.
        """
        return read_result(self.metrics)

    def run(self, sections: Sections) -> Run | None:
        """Return the settings of the run in this folder; None where there is none.

        Args:
            sections: the settings specific to kinds of tasks and to families of models.

        Raises:
            CheckpointError: the file is damaged.
            StorageError: it cannot be read now.
        """
        return self._settings(lambda: load_resolved(self.settings, sections))

    def values(self) -> dict[str, object] | None:
        """Return the values of ``run.yaml`` by dotted key, unchecked; None if there is none.

        Raises:
            CheckpointError, StorageError: as ``run``.
        """
        return self._settings(lambda: saved_values(self.settings))

    def _settings(self, read: Callable[[], ReadT]) -> ReadT | None:
        """Return what ``read`` makes of ``run.yaml``."""
        try:
            read_file(self.settings)
            return read()
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
            CheckpointError: the file that names it is damaged, or names a missing folder.
            StorageError: it cannot be read now.
        """
        pointer = self.checkpoints / BEST
        try:
            best = pointed(self.checkpoints, BEST)
        except DamagedFileError as error:
            raise _damaged(pointer, str(error)) from error
        if best is not None and not exists(best):
            raise _damaged(pointer, f"names {best.name}, which does not exist")
        return best

    @property
    def finished(self) -> bool:
        """Return whether a run finished here with a score."""
        result = self.result()
        return result is not None and result.ok


def seed_folder(output: Path, seed: int) -> RunFolder:
    """Return the folder of one seed, when several are trained into one output."""
    return RunFolder(output / f"seed-{seed}")


def write_settings(folder: RunFolder, run: Run, sections: Sections) -> None:
    """Write ``run.yaml``; an equal one is left unchanged, with the user's comments in it.

    Raises:
        UsageError: a path in the settings has bytes that are not UTF-8.
        CheckpointError, StorageError: as ``RunFolder.run``; or the disk refused.
    """
    if folder.run(sections) == run:
        return
    odd = {key: value for key, value in flat(run).items() if isinstance(value, str) and not _is_text(value)}
    if odd:
        raise UsageError(
            "a path in the settings has bytes that are not UTF-8, so run.yaml cannot name it",
            where=", ".join(odd),
            received=", ".join(map(ascii, odd.values())),
            next_step="rename the folder or file, or give it a link with another name",
        )
    write_atomic(folder.settings, dump_run(run).encode())


def _is_text(value: str) -> bool:
    """Return whether UTF-8 can hold a text: a lone surrogate stands for a byte of a name."""
    return not any("\ud800" <= character <= "\udfff" for character in value)


def _damaged(path: Path, reason: str) -> CheckpointError:
    """Return the error for a file of the run folder that cannot be read."""
    return CheckpointError(
        f"a file of the run {reason}",
        where=str(path),
        next_step="start over with --fresh (the old folder is kept), or use another folder with --output",
    )
