"""Saved states of a run: ``checkpoints/step-<n>/`` with a signed list of its files.

In: tensors and the loop's state. Out: folders that are whole or absent, and ``best`` and ``last``,
one-line files that name one of them. Order of a write: temporary folder beside the target, files,
fsync, manifest last, rename, fsync of the parent. Knows nothing about networks or settings.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clue_runner.files.atomic import (
    TEMPORARY,
    disk_faults,
    make_folder,
    sha256_file,
    sync_folder,
    write_atomic,
    write_synced,
)
from clue_runner.files.reading import DamagedFileError, read_file
from clue_runner.files.tensors import State, load_weights, save_weights

SCHEMA = 1
MANIFEST = "manifest.json"
STATE_FILE = "state.json"
WEIGHTS_FILE = "weights.safetensors"
VOCABULARY = "vocab.txt"
BEST, LAST = "best", "last"  # one-line files that name a saved state
PREFIX = "step-"
REPLACED = ".replaced-"  # the folder that a second save of the same step is about to replace
CORRUPT = "corrupt-"
# Which file a tensor goes to, by its name; everything else is a weight of the network.
FILES = {"optimizer/": "optimizer.safetensors", "ema/": "ema.safetensors"}


@dataclass(frozen=True)
class Snapshot:
    """One saved state whose files agree with its manifest."""

    folder: Path
    step: int
    state: Mapping[str, Any]

    def tensors(self) -> State:
        """Return weights, optimizer and averaged weights by name."""
        tensors: State = {}
        for file in sorted(self.folder.glob("*.safetensors")):
            tensors.update(load_weights(file)[0])
        return tensors


def write_snapshot(
    root: Path,
    step: int,
    tensors: State,
    state: Mapping[str, Any],
    *,
    header: Mapping[str, Any] | None = None,
    files: Mapping[str, bytes] | None = None,
) -> Path:
    """Save a state as ``root/step-<step>``; one of the same step is replaced.

    Args:
        root: the run's ``checkpoints`` folder.
        step: updates done.
        tensors: weights, optimizer and averaged weights by name.
        state: the content of ``state.json``.
        header: what the weight file says about its network.
        files: other files to keep beside, such as the vocabulary.

    Raises:
        StorageError: the disk refused; states saved before are untouched.
    """
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


def read_snapshot(folder: Path) -> Snapshot:
    """Return a saved state after checking every byte against the manifest.

    Raises:
        ValueError: what is wrong, with the file's name.
    """
    signed = _manifest(folder)
    for name in sorted({STATE_FILE, WEIGHTS_FILE} - signed.keys()):
        raise ValueError(f"{MANIFEST} does not list {name}")
    for name, entry in sorted(signed.items()):
        path = folder / name
        try:
            size = path.stat().st_size
            if size != entry["size"]:
                raise ValueError(f"{name} has {size} bytes instead of {entry['size']}")
            if sha256_file(path) != entry["sha256"]:
                raise ValueError(f"{name} does not have the content that was saved (sha256)")
        except OSError as error:
            raise ValueError(f"{name} cannot be read: {error.strerror}") from None
        except (KeyError, TypeError):
            raise ValueError(f"{MANIFEST} has no size and sha256 of {name}") from None
    state = json.loads((folder / STATE_FILE).read_text(encoding="utf-8"))
    return Snapshot(folder, int(state["progress"]["step"]), state)


def sign(folder: Path) -> None:
    """Write the manifest: size and sha256 of every other file."""
    files = {
        path.name: {"sha256": sha256_file(path), "size": path.stat().st_size}
        for path in sorted(folder.iterdir())
        if path.name != MANIFEST
    }
    text = json.dumps({"schema": SCHEMA, "files": files}, indent=2)
    write_synced(folder / MANIFEST, f"{text}\n".encode())


def list_snapshots(root: Path) -> list[Path]:
    """Return the folders of saved states, newest first, unchecked."""
    if not root.is_dir():
        return []
    found = [path for path in root.glob(f"{PREFIX}*") if path.name.removeprefix(PREFIX).isdigit()]
    return sorted(found, key=lambda path: int(path.name.removeprefix(PREFIX)), reverse=True)


def point(root: Path, name: str, target: Path) -> None:
    """Make the one-line file ``root/name`` name a saved state."""
    write_atomic(root / name, f"{target.name}\n".encode())


def pointed(root: Path, name: str) -> Path | None:
    """Return the saved state that ``root/name`` names, unchecked; None where there is no such file.

    Raises:
        DamagedFileError: it names something else.
        StorageError: it cannot be read just now.
    """
    try:
        text = read_file(root / name, limit=255).strip()
    except FileNotFoundError:
        return None
    number = text.removeprefix(PREFIX.encode())
    if not text.startswith(PREFIX.encode()) or not number.isdigit():
        raise DamagedFileError(f"does not name a saved state: {text[:40]!r}")
    return root / text.decode("ascii")


def repoint(root: Path, snapshot: Snapshot, best_step: int | None) -> None:
    """Make ``best`` and ``last`` agree with the state that a run goes on from."""
    point(root, "last", snapshot.folder)
    if best_step is not None:
        point(root, "best", root / f"{PREFIX}{best_step}")


def prune(root: Path, *, keep: int, best_step: int | None) -> None:
    """Remove all but the newest ``keep`` saved states and the best one."""
    for folder in list_snapshots(root)[keep:]:
        if folder.name != f"{PREFIX}{best_step}":
            # Renamed first: a kill in the middle of the removal must not leave half a state.
            doomed = root / f"{TEMPORARY}{folder.name}"
            with disk_faults(folder):
                shutil.rmtree(doomed, ignore_errors=True)
                folder.rename(doomed)
                shutil.rmtree(doomed, ignore_errors=True)


def sweep(root: Path) -> None:
    """Remove what killed writers left behind, and undo a replacement that did not end."""
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
    """Rename a corrupt state so that it is not looked at again; return its new place."""
    aside = folder.with_name(f"{CORRUPT}{folder.name}")
    with disk_faults(folder):
        shutil.rmtree(aside, ignore_errors=True)
        folder.rename(aside)
    return aside


def _write_files(
    folder: Path,
    tensors: State,
    state: Mapping[str, Any],
    header: Mapping[str, Any],
    files: Mapping[str, bytes],
) -> None:
    """Write and sync tensors, state and, last, the manifest."""
    parts: dict[str, State] = {WEIGHTS_FILE: {}}
    for name, values in tensors.items():
        file = next((file for prefix, file in FILES.items() if name.startswith(prefix)), WEIGHTS_FILE)
        parts.setdefault(file, {})[name] = values
    for file, content in parts.items():
        save_weights(folder / file, content, header if file == WEIGHTS_FILE else {})
    for name, raw in files.items():
        write_synced(folder / name, raw)
    text = json.dumps(state, ensure_ascii=False, indent=2, allow_nan=False)
    write_synced(folder / STATE_FILE, f"{text}\n".encode())
    sign(folder)
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


def _manifest(folder: Path) -> Mapping[str, Any]:
    """Return file name -> size and sha256."""
    try:
        content = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        if content["schema"] != SCHEMA:
            raise ValueError(f"{MANIFEST} is of format {content['schema']}, this version reads {SCHEMA}")
        files = content["files"]
        if not isinstance(files, dict):
            raise TypeError
    except OSError as error:
        raise ValueError(f"{MANIFEST} cannot be read: {error.strerror}") from None
    except (KeyError, TypeError, json.JSONDecodeError, UnicodeDecodeError):
        raise ValueError(f"{MANIFEST} is damaged") from None
    return files
