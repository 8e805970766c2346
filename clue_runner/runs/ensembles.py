"""The folder of runs that answer together: their folders, their weights, and their scores.

In: a folder. Out: ``ensemble.json`` as types, written and read. Knows nothing about records or networks.
"""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import ValidationError

from clue_runner.errors import CheckpointError
from clue_runner.files.atomic import write_json
from clue_runner.files.reading import DamagedFileError, exists, parse_object, read_file
from clue_runner.runs.results import Part

NOTE = "ensemble.json"


class EnsembleMember(Part):
    """One run of an ensemble.

    Args:
        run: its folder as named by the user.
        folder: its folder relative to the ensemble's, so that both can be moved together.
        weights_sha256: the hash of its best weights.
        dev_score: the score of these weights, in percent.
    """

    run: str
    folder: str | None = None
    weights_sha256: str
    dev_score: float | None = None


class JointScore(Part):
    """The scores of the joint answers to all of dev, in percent."""

    metric: str
    score: float
    chance: float | None = None
    examples: int | None = None


class Ensemble(Part):
    """The content of ``ensemble.json``; ``dev`` is None until dev was answered."""

    members: list[EnsembleMember]
    dev: JointScore | None = None


def place_within(folder: Path, run: Path) -> str:
    """Return a run's path relative to the ensemble's folder."""
    return Path(os.path.relpath(run.absolute(), folder.absolute())).as_posix()


def member_folder(folder: Path, member: EnsembleMember) -> Path:
    """Return a member's folder: where it lay beside the ensemble, else as named by the user."""
    beside = None if member.folder is None else folder / member.folder
    return beside if beside is not None and beside.is_dir() else Path(member.run)


def write_ensemble(folder: Path, ensemble: Ensemble) -> None:
    """Write which runs answer together.

    Raises:
        StorageError: the disk refused.
    """
    write_json(folder / NOTE, ensemble.model_dump(mode="json"))


def read_ensemble(folder: Path) -> Ensemble | None:
    """Return which runs answer together here; None if this is not an ensemble's folder.

    Raises:
        CheckpointError: the note is damaged.
        StorageError: it cannot be read now.
    """
    path = folder / NOTE
    if not exists(path):
        return None
    try:
        return Ensemble.model_validate(parse_object(read_file(path)))
    except (DamagedFileError, ValidationError) as error:
        said = str(error) if isinstance(error, DamagedFileError) else "fields are missing or of a wrong type"
        raise CheckpointError(
            "ensemble.json is damaged",
            where=str(path),
            received=said,
            next_step="run clue predict with the same runs again",
        ) from None
