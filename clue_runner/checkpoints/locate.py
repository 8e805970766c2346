"""Recognises the layout of a checkpoint by its files, so that nobody has to name it.

In: a path from the user. Out: where config and weights lie, in which layout, and what was chosen among
several names. Only names are checked; no file is opened except pointers of one line (a run's ``best``, the
hub's ``refs/main``); a model on the hub is downloaded first. Knows nothing about tensors or single families.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from clue_runner.architectures.base import architecture_names
from clue_runner.architectures.name_table import Layout
from clue_runner.checkpoints.advice import not_found
from clue_runner.checkpoints.formats.google import INDEX, SHARD
from clue_runner.checkpoints.formats.recognise import face_weights, is_face_file
from clue_runner.checkpoints.formats.run_weights import WEIGHTS
from clue_runner.checkpoints.hub.fetch import fetch
from clue_runner.checkpoints.hub.pins import SCHEME, HubName, parse_name
from clue_runner.errors import CheckpointError
from clue_runner.files.litter import entries
from clue_runner.files.names import user_path
from clue_runner.files.reading import DamagedFileError, read_file, unreadable
from clue_runner.runs.folder import RunFolder

CONFIG = "config.json"
# Files with "config" in the name that do not describe a network.
OTHER_CONFIGS = ("tokenizer_config.json", "generation_config.json", "preprocessor_config.json")
SNAPSHOTS, MAIN = "snapshots", "refs/main"  # of a model in the hub's cache


@dataclass(frozen=True)
class Located:
    """The files of one checkpoint.

    Args:
        folder: where they lie.
        layout: whose format it is.
        weights: the index of a TensorFlow checkpoint, the file of weights or the index of several.
        config: describes the network; None if the weights do so themselves.
        notices: what was chosen, and other messages for the user.
        pinned: file -> sha256 that it must have, for models from the hub.
    """

    folder: Path
    layout: Layout
    weights: Path
    config: Path | None = None
    notices: tuple[str, ...] = ()
    pinned: Mapping[str, str] = field(default_factory=dict)


def locate(path: str | Path) -> Located:
    """Return the files of the checkpoint at a path: a folder, a TensorFlow prefix, or a run's folder.

    Raises:
        CheckpointError: nothing there, nothing known, two checkpoints at once, or only files that can
            carry code (left unread).
        DataError: the path is impossible.
        StorageError: a folder cannot be read now.
    """
    if str(path).startswith(SCHEME):
        return _on_hub(parse_name(str(path)))
    given = user_path(path)
    prefix = _prefix(given)
    if prefix is not None:
        return _at_prefix(given, prefix)
    if given.is_file() and is_face_file(given.name):
        return _described(Located(given.parent, "huggingface", given), _listed(given.parent))
    if given.is_file():
        raise not_found.file_given(given)
    if not given.is_dir():
        raise not_found.nothing_there(given)
    folder = RunFolder(given).best_state() or given
    found = _in_folder(folder)
    if found is not None:
        return found
    for inner in (_snapshot(folder), _only_inner(folder)):
        found = None if inner is None else _in_folder(inner)
        if found is not None:
            return replace(found, notices=(f"the checkpoint lies in {found.folder}", *found.notices))
    raise not_found.nothing_known(folder, [path.name for path in _listed(folder)])


def _on_hub(name: HubName) -> Located:
    """Return the checkpoint that a model's name on the hub means; downloaded if missing."""
    pin = fetch(name)
    found = _in_folder(pin.folder)
    if found is None:
        raise not_found.nothing_known(pin.folder, [path.name for path in _listed(pin.folder)])
    notice = f"{name} is commit {pin.commit[:12]}, in {pin.folder}"
    return replace(found, notices=(notice, *found.notices), pinned=pin.files)


def _prefix(given: Path) -> Path | None:
    """Return the TensorFlow prefix that a path means: itself, or one of the checkpoint's files."""
    name = given.name
    if given.is_file():
        for suffix in (INDEX, ".meta"):
            if name.endswith(suffix):
                return given.with_name(name.removesuffix(suffix))
        shard = SHARD.search(name)
        return given.with_name(name[: shard.start()]) if shard and name.endswith(shard.group()) else None
    index = given.with_name(f"{name}{INDEX}") if name else given
    return given if not given.is_dir() and index.is_file() else None


def _at_prefix(given: Path, prefix: Path) -> Located:
    """Return the checkpoint that a path names by its prefix."""
    folder, index = prefix.parent, prefix.with_name(f"{prefix.name}{INDEX}")
    if not index.is_file():
        raise not_found.index_missing(folder, prefix.name)
    located = Located(folder, "google", index, notices=(f"{given} is read as {index}",))
    return _described(located, _listed(folder))


def _in_folder(folder: Path) -> Located | None:
    """Return the one checkpoint in a folder; None where there is none."""
    files = _listed(folder)
    found = list(_candidates(folder, files))
    if len(found) > 1:
        layouts = list(dict.fromkeys(one.layout for one in found))
        if len(layouts) == 1:
            raise not_found.several_files(folder, [one.weights.name for one in found])
        raise not_found.two_checkpoints(folder, layouts)
    if not found:
        return None
    return _described(found[0], files)


def _described(located: Located, files: Sequence[Path]) -> Located:
    """Return a checkpoint with the config that lies beside it; Hugging Face's own name needs no notice."""
    folder = located.folder
    if located.layout == "native":
        return located
    if located.layout == "huggingface" and (folder / CONFIG) in files:
        return replace(located, config=folder / CONFIG)
    config, notices = _config(folder, files)
    return replace(located, config=config, notices=(*located.notices, *notices))


def _candidates(folder: Path, files: Sequence[Path]) -> Iterator[Located]:
    """Yield what may be a checkpoint, by name."""
    names = [path.name for path in files]
    configs = _configs(names)
    for name in names:
        if name.endswith(INDEX) and configs:
            yield Located(folder, "google", folder / name)
    for name in face_weights(names) if configs else ():
        yield Located(folder, "huggingface", folder / name)
    if WEIGHTS in names:
        yield Located(folder, "native", folder / WEIGHTS)


def _config(folder: Path, files: Sequence[Path]) -> tuple[Path, tuple[str, ...]]:
    """Return the config beside a TensorFlow checkpoint, and a notice if its name is unusual.

    Raises:
        CheckpointError: there is none, or more than one.
    """
    names = _configs([path.name for path in files])
    usual = [f"{family}_{CONFIG}" for family in architecture_names()]
    exact = [name for name in usual if name in names]
    if len(exact) == 1:
        return folder / exact[0], ()
    if len(names) == 1:
        return folder / names[0], (f"{names[0]} in {folder} is used as the config of the weights",)
    if not names:
        raise not_found.config_missing(folder, usual)
    raise CheckpointError(
        "the folder contains several configs",
        where=str(folder),
        received=", ".join(names),
        next_step=f"keep only the one that belongs to the weights, or rename it to {usual[0]}",
    )


def _configs(names: Sequence[str]) -> list[str]:
    """Return the names of files that may describe a network."""
    return [
        name
        for name in names
        if "config" in name.lower() and name.lower().endswith(".json") and name not in OTHER_CONFIGS
    ]


def _snapshot(folder: Path) -> Path | None:
    """Return the revision in a model's folder of the hub's cache: main's, or the only one."""
    snapshots = folder / SNAPSHOTS
    if not snapshots.is_dir():
        return None
    revisions = [path for path in _listed(snapshots) if path.is_dir()]
    try:
        main = read_file(folder / MAIN, 256).decode("utf-8", "replace").strip()
    except (FileNotFoundError, DamagedFileError):
        main = ""
    named = [path for path in revisions if path.name == main]
    if named:
        return named[0]
    if len(revisions) > 1:
        raise not_found.several_inside(snapshots, revisions)
    return revisions[0] if revisions else None


def _only_inner(folder: Path) -> Path | None:
    """Return the one folder inside that holds a checkpoint, as archives are unpacked."""
    inside = [path for path in _listed(folder) if path.is_dir() and _in_folder(path) is not None]
    if len(inside) > 1:
        raise not_found.several_inside(folder, inside)
    return inside[0] if inside else None


def _listed(folder: Path) -> list[Path]:
    """Return a folder's entries, without litter."""
    try:
        return entries(folder)
    except OSError as error:
        raise unreadable(error, folder) from error
