"""Saved states of a run: ``checkpoints/step-<n>/`` with a list of its files and their checksums.

In: tensors and the loop's state. Out: folders that are complete or absent, and ``best`` and ``last``,
one-line files that name one of them. Order of a write: temporary folder beside the target, files,
fsync, manifest last, rename, fsync of the parent. Knows nothing about networks or settings.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from clue_runner.errors import NotFiniteError
from clue_runner.files.atomic import (
    TEMPORARY,
    disk_faults,
    json_bytes,
    make_folder,
    sha256_file,
    sync_folder,
    write_atomic,
    write_synced,
)
from clue_runner.files.reading import DamagedFileError, exists, read_file, unreadable
from clue_runner.files.tensors import State, save_weights
from clue_runner.runs.states import (
    CORRUPT,
    MANIFEST,
    MANIFEST_SCHEMA,
    PREFIX,
    STATE_FILE,
    WEIGHTS_FILE,
    SavedState,
    Snapshot,
)

BEST, LAST = "best", "last"  # one-line files that name a saved state
REPLACED = ".replaced-"  # the folder that a second save of the same step is about to replace
# Which file a tensor goes to, by its name; everything else is a weight of the network.
FILES = {"optimizer/": "optimizer.safetensors", "ema/": "ema.safetensors"}


def write_snapshot(
    root: Path,
    tensors: State,
    state: SavedState,
    *,
    header: Mapping[str, Any] | None = None,
    files: Mapping[str, bytes] | None = None,
) -> Path:
    """Save a state as ``root/step-<step>``; one of the same step is replaced.

    Only files in ``root`` are touched, so that a thread may do this while the run continues.

    Args:
        root: the run's ``checkpoints`` folder.
        tensors: weights, optimizer and averaged weights by name; nobody may change them meanwhile.
        state: the content of ``state.json``, including the step.
        header: the weight file's description of its network.
        files: other files to keep beside it, such as the vocabulary.

    Raises:
        NotFiniteError: a tensor holds NaN or infinity; nothing was written.
        StorageError: the disk refused; states saved before are untouched.
    """
    step = state.progress.step
    _refuse_not_finite(tensors, step)
    target = root / f"{PREFIX}{step}"
    temporary = root / f"{TEMPORARY}{PREFIX}{step}"
    with disk_faults(target):
        root.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(temporary, ignore_errors=True)
        try:
            temporary.mkdir()
            _write_files(temporary, tensors, state, header or {}, files or {})
            _move_into_place(temporary, target)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
    return target


def write_manifest(folder: Path) -> None:
    """Write the manifest: size and sha256 of every other file."""
    files = {
        path.name: {"sha256": sha256_file(path), "size": path.stat().st_size}
        for path in sorted(folder.iterdir())
        if path.name != MANIFEST
    }
    write_synced(folder / MANIFEST, json_bytes({"schema": MANIFEST_SCHEMA, "files": files}, indent=2))


def list_snapshots(root: Path, prefix: str = PREFIX) -> list[Path]:
    """Return the folders of saved states, newest first, unchecked.

    Raises:
        StorageError: the folder cannot be read now.
    """
    try:
        names = [path.name for path in root.iterdir() if path.name.startswith(prefix)]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise unreadable(error, root) from error
    steps = sorted((int(text) for name in names if _is_step(text := name.removeprefix(prefix))), reverse=True)
    return [root / f"{prefix}{step}" for step in steps]


def _is_step(text: str) -> bool:
    """Return whether a text is a step in our notation: ``٣`` and ``007`` are digits too."""
    return text.isascii() and text.isdigit() and str(int(text[:18])) == text


def point(root: Path, name: str, target: Path) -> None:
    """Make the one-line file ``root/name`` name a saved state."""
    write_atomic(root / name, f"{target.name}\n".encode())


def pointed(root: Path, name: str) -> Path | None:
    """Return the saved state that ``root/name`` names, unchecked; None where there is no such file.

    Raises:
        DamagedFileError: it names something else.
        StorageError: it cannot be read now.
    """
    try:
        text = read_file(root / name, limit=255).strip()
    except FileNotFoundError:
        return None
    name_of_state = text.decode("ascii", "replace")
    if not name_of_state.startswith(PREFIX) or not _is_step(name_of_state.removeprefix(PREFIX)):
        raise DamagedFileError(f"does not name a saved state: {text[:40]!r}")
    return root / name_of_state


def repoint(root: Path, snapshot: Snapshot, best_step: int | None) -> None:
    """Make ``best`` and ``last`` agree with the state that a run continues from."""
    point(root, "last", snapshot.folder)
    if best_step is not None:
        point(root, "best", root / f"{PREFIX}{best_step}")


def prune(root: Path, *, keep: int, best_step: int | None) -> None:
    """Remove all but the newest ``keep`` saved states and the best one."""
    for folder in list_snapshots(root)[keep:]:
        if folder.name != f"{PREFIX}{best_step}":
            # Renamed first: a kill during the removal must not leave half a state.
            doomed = root / f"{TEMPORARY}{folder.name}"
            with disk_faults(folder):
                shutil.rmtree(doomed, ignore_errors=True)
                folder.rename(doomed)
                shutil.rmtree(doomed, ignore_errors=True)


def sweep(root: Path) -> None:
    """Remove what killed writers left behind, and undo an unfinished replacement."""
    make_folder(root)
    with disk_faults(root):
        for old in root.glob(f"{REPLACED}{PREFIX}*"):
            home = root / old.name.removeprefix(REPLACED)
            if home.exists():
                shutil.rmtree(old, ignore_errors=True)
            else:
                old.rename(home)
        for path in root.glob(f"{TEMPORARY}*"):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def set_aside(folder: Path) -> Path:
    """Rename a corrupt state so that a later save may take its name; return its new place."""
    aside = folder.with_name(f"{CORRUPT}{folder.name}")
    number = 1
    while exists(aside):
        number += 1
        aside = folder.with_name(f"{CORRUPT}{folder.name}.{number}")
    with disk_faults(folder):
        folder.rename(aside)
    return aside


def take_back(aside: Path) -> Path:
    """Rename a state that was set aside and proved complete; return its new place."""
    folder = aside.with_name(aside.name.removeprefix(CORRUPT))
    with disk_faults(aside):
        aside.rename(folder)
        sync_folder(folder.parent)
    return folder


def _refuse_not_finite(tensors: State, step: int) -> None:
    """Refuse a state that cannot be continued, although the losses so far were finite."""
    for name, values in tensors.items():
        # bfloat16 is not a subtype of numpy's own floating types, and integers are always finite
        if values.dtype.kind in "fV" and not np.isfinite(values).all():
            count = int((~np.isfinite(values)).sum())
            raise NotFiniteError(
                f"the state after step {step} is not finite: {name}",
                received=f"NaN or infinity in {count:,} of {values.size:,} values",
                next_step="lower train.learning_rate or raise train.warmup_ratio; no bad state was saved",
            )


def _write_files(
    folder: Path,
    tensors: State,
    state: SavedState,
    header: Mapping[str, Any],
    files: Mapping[str, bytes],
) -> None:
    """Write and sync tensors, state and, last, the manifest."""
    parts: dict[str, State] = {WEIGHTS_FILE: {}}
    for name, values in tensors.items():
        file = next((file for prefix, file in FILES.items() if name.startswith(prefix)), WEIGHTS_FILE)
        parts.setdefault(file, {})[name] = values
    for file, content in parts.items():
        meta = {"step": state.progress.step}
        save_weights(folder / file, content, {**header, **meta} if file == WEIGHTS_FILE else meta)
    for name, raw in files.items():
        write_synced(folder / name, raw)
    write_synced(folder / STATE_FILE, json_bytes(state.to_json(), indent=2))
    write_manifest(folder)
    sync_folder(folder)


def _move_into_place(temporary: Path, target: Path) -> None:
    """Rename a complete folder to its name; an older one of that name waits aside until it is done."""
    replaced = target.with_name(f"{REPLACED}{target.name}")
    shutil.rmtree(replaced, ignore_errors=True)
    if target.exists():
        target.rename(replaced)
    try:
        temporary.rename(target)
    except OSError:
        with suppress(OSError):
            replaced.rename(target)
        raise
    sync_folder(target.parent)
    shutil.rmtree(replaced, ignore_errors=True)
