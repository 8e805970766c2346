"""The best state of a pre-training run as an ordinary checkpoint folder, with its card.

In: a run that has ended, what the user wants of the folder. Out: the folder, written once.
Knows nothing about tensors; the layout is Hugging Face's, so that others read it too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from clue_runner.checkpoints.export import NumberType, export
from clue_runner.commands.pretraining.card import README, Licence, card_text, facts_of
from clue_runner.config.schema import Run
from clue_runner.console import Console
from clue_runner.data.new_folder import require_new
from clue_runner.errors import UsageError
from clue_runner.files.atomic import json_bytes
from clue_runner.files.reading import DamagedFileError, read_object
from clue_runner.runs.folder import RunFolder
from clue_runner.runs.results import RunResult
from clue_runner.runs.snapshots import BEST, pointed

FACTS = "pretraining.json"
OPTION = "--checkpoint"


@dataclass(frozen=True)
class CheckpointWish:
    """What is wanted of the folder.

    Args:
        folder: new, empty, or that of the same run.
        number_type: of the weights in it.
        licence: for its card.
        texts: (name, sha256) of what was trained on.
        held_out: the same of files that were only measured on; none: a share of ``texts`` was.
    """

    folder: Path
    number_type: NumberType
    licence: Licence
    texts: Sequence[tuple[str, str]]
    held_out: Sequence[tuple[str, str]] = ()


def refuse_taken(wish: CheckpointWish, run: RunFolder, *, fresh: bool) -> None:
    """Refuse, before hours are spent, a folder to which the checkpoint could not be written at the end.

    Args:
        wish: the folder.
        run: that of this run; once it has finished, its checkpoint may be there.
        fresh: the contents of the run folder are moved aside first.

    Raises:
        UsageError: the folder is not empty, or it is the run folder itself.
        StorageError: it cannot be looked into.
    """
    folder, output = wish.folder.resolve(), run.path.resolve()
    if folder == output:
        raise UsageError(
            "the checkpoint needs a separate folder",
            where=OPTION,
            received=str(wish.folder),
            next_step=f"{OPTION} {wish.folder / 'model'}",
        )
    if fresh and output in folder.parents:
        return
    if _facts(wish.folder) is None:
        require_new(wish.folder, OPTION)
        return
    result = None if fresh else run.result()
    if result is None or not result.ok:
        raise UsageError(
            "another run's checkpoint is in this folder",
            where=OPTION,
            received=str(wish.folder),
            next_step="name a new folder, or remove the old checkpoint",
        )


def write_checkpoint(
    folder: RunFolder, run: Run, result: RunResult, wish: CheckpointWish, console: Console
) -> Path:
    """Write the checkpoint of a run that has ended, unless it is there; return its folder.

    Raises:
        UsageError: another run's checkpoint, or something else, is there.
        CheckpointError: the state cannot be read.
        StorageError: it cannot be written; nothing is left behind.
    """
    facts = facts_of(run, result, wish.texts, wish.licence) | {
        "held_out_texts": [{"name": name, "sha256": digest} for name, digest in wish.held_out],
        "numbers": wish.number_type,
    }
    facts["run_id"] = _run_id(facts)
    before = _facts(wish.folder)
    if before is not None:
        if before.get("run_id") != facts["run_id"]:
            raise UsageError(
                "the folder contains another checkpoint",
                where=OPTION,
                received=str(wish.folder),
                next_step="name a new folder, or remove the old checkpoint",
            )
        console.say(f"  checkpoint {wish.folder}")
        return wish.folder
    best = pointed(folder.checkpoints, BEST)
    if best is None:
        raise RuntimeError(f"{folder.path}: a finished run without a best state (our bug)")
    name = wish.folder.resolve().name if wish.folder.name != "model" else run.model.name
    beside = {README: card_text(name, facts).encode(), FACTS: json_bytes(facts, indent=2)}
    written = export(best, wish.folder, "huggingface", OPTION, number_type=wish.number_type, beside=beside)
    for notice in written.notices:
        console.warn(notice)
    console.say(f"  checkpoint {wish.folder}   {written.parameters:,} numbers, {wish.number_type}")
    console.say(f"  use it     clue train --task NAME --model {wish.folder}")
    return wish.folder


def _run_id(facts: dict[str, object]) -> str:
    """Return what tells this checkpoint from those of other runs and other wishes."""
    return " ".join(str(facts[key]) for key in ("run_sha256", "steps", "numbers", "seconds", "licence"))


def _facts(folder: Path) -> dict[str, object] | None:
    """Return the facts of the checkpoint in a folder; None where there is none."""
    try:
        return read_object(folder / FACTS)
    except (FileNotFoundError, DamagedFileError):
        return None
