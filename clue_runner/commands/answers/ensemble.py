"""The folder of several runs that answer together: named after its members, and a note of which they are.

In: members. Out: a run folder beside the first of them, and ``ensemble.json``.
Knows nothing about records or networks.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from clue_runner.errors import CheckpointError
from clue_runner.runs.ensembles import (
    Ensemble,
    EnsembleMember,
    JointScore,
    place_within,
    read_ensemble,
    write_ensemble,
)
from clue_runner.runs.folder import RunFolder
from clue_runner.runs.states import WEIGHTS_FILE
from clue_runner.training.members import Member

LONGEST_NAME = 60  # characters of the members' names


def ensemble_folder(members: Sequence[Member]) -> RunFolder:
    """Return where the joint answers of these weights go; those of other weights go elsewhere."""
    weights = sorted(weights_of(member) for member in members)
    digest = hashlib.sha256("\n".join(weights).encode()).hexdigest()[:8]
    names = "+".join(sorted(member.folder.path.resolve().name for member in members))[:LONGEST_NAME]
    return RunFolder(members[0].folder.path.parent / f"ensemble-{names}-{digest}")


def weights_of(member: Member) -> str:
    """Return the SHA-256 of a member's best weights, as its manifest lists them."""
    return member.best.files[WEIGHTS_FILE].sha256


def note_members(folder: RunFolder, members: Sequence[Member], dev: dict[str, Any] | None) -> Ensemble:
    """Write which runs answer together, the dev score of each, and the joint one where it is known.

    Args:
        folder: the ensemble's.
        members: the runs.
        dev: metric, score, chance and examples of the joint answers to all of dev; None: not asked for.

    Raises:
        StorageError: the disk refused.
    """
    noted = Ensemble(
        members=[
            EnsembleMember(
                run=str(member.folder.path),
                folder=place_within(folder.path, member.folder.path),
                weights_sha256=weights_of(member),
                dev_score=member.best.state.progress.best_score,
            )
            for member in members
        ],
        dev=_earlier_dev(folder) if dev is None else JointScore.model_validate(dev),
    )
    write_ensemble(folder.path, noted)
    return noted


def _earlier_dev(folder: RunFolder) -> JointScore | None:
    """Return the joint dev score that an earlier call wrote."""
    try:
        earlier = read_ensemble(folder.path)
    except CheckpointError:
        return None
    return earlier.dev if earlier else None
