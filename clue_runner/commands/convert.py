"""What ``clue convert`` does: writes a checkpoint or a run's weights in a published layout.

In: a path, a new folder, a layout. Out: the folder, verified bitwise. Knows nothing about argv or backends.
"""

from __future__ import annotations

from typing import Any

from clue_runner.checkpoints.export import Target, export
from clue_runner.config.model_choice import find_model
from clue_runner.config.presets import Preset
from clue_runner.config.shipped import clue_home
from clue_runner.console import Console
from clue_runner.data.new_folder import require_new
from clue_runner.engines.quiet import chatter_to
from clue_runner.errors import CheckpointError, Problem
from clue_runner.files.names import user_path

OPTION = "DST"


def convert(source: str, target: str, to: Target, console: Console) -> dict[str, Any]:
    """Write the folder, report its content, and return the result event's content.

    Raises:
        CheckpointError: the source cannot be used.
        UsageError: the folder is not empty.
        StorageError: it cannot be written; nothing is left behind.
    """
    folder = user_path(target)
    require_new(folder, OPTION)
    path = _path(source)
    with chatter_to(clue_home() / "logs" / "convert.log"):
        exported = export(path, folder, to, OPTION)
    for notice in exported.notices:
        console.warn(notice)
    console.say(f"{source} ({exported.checkpoint.layout}) is now {target} ({to})")
    counts = f"{exported.tensors:,} tensors, {exported.parameters:,} numbers"
    console.say(f"  {counts}, each compared with the source bit for bit")
    for rule, count in exported.left_out.items():
        console.say(f"  {count:,} tensor{'s' * (count > 1)} left out by the rule {rule}")
    console.say(f"use it: clue train --task afqmc --model {target}")
    return {
        "ok": True,
        "source": source,
        "folder": str(folder),
        "layout": to,
        "tensors": exported.tensors,
        "parameters": exported.parameters,
        "left_out": dict(exported.left_out),
    }


def _path(source: str) -> str:
    """Return the path of a checkpoint that is named as for ``--model``."""
    if user_path(source).exists():
        return source
    found = find_model(source)
    if not isinstance(found, Preset):
        return str(found)
    if not found.local_folder.is_dir():
        raise CheckpointError(
            f"{source} has no checkpoint on this machine",
            problems=[Problem(way) for way in found.ways_to_get()],
        )
    return str(found.local_folder)
