"""The index of a model in several files, as Hugging Face writes it for safetensors and for PyTorch alike.

In: an index (``*.index.json``). Out: the files that it names, or why they are refused.
Knows nothing about what is in the files.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from clue_runner.checkpoints.files import AGAIN, read_json
from clue_runner.errors import CheckpointError, Problem, RefusedFileError

LONGEST_SHOWN = 120  # characters of a name in a message


def shard_files(index: Path) -> tuple[Path, ...]:
    """Return the files that an index names, all of which are there.

    Raises:
        CheckpointError: a file is missing, or the index is invalid.
        RefusedFileError: a name leads out of the folder.
    """
    names = shard_names(index)
    # looked up in a listing: a name from a file may be impossible as a path
    present = {entry.name for entry in index.parent.iterdir()}
    missing = [name for name in names if name not in present]
    if missing:
        raise CheckpointError(
            "shards are missing",
            where=str(index.parent),
            problems=[Problem("no such file", received=repr(name)[:LONGEST_SHOWN]) for name in missing],
            next_step="download the missing files into the folder",
        )
    return tuple(index.parent / name for name in names)


def shard_names(index: Path) -> list[str]:
    """Return the names of the files that an index names.

    Raises:
        CheckpointError: the index is invalid.
        RefusedFileError: a name leads out of the folder.
    """
    names = sorted(set(_weight_map(index).values()))
    escaping = [
        name for name in names if PurePosixPath(name).name != name or "\\" in name or name in {"", ".", ".."}
    ]
    if escaping:
        raise RefusedFileError(
            "the index points out of its folder",
            where=str(index),
            problems=[Problem("not a plain file name", received=repr(name)) for name in escaping],
            next_step="do not use this checkpoint; download it from its publisher",
        )
    return names


def refuse_repeated(name: str, path: Path, home: Mapping[str, Path]) -> None:
    """Refuse a tensor of ``path`` that another file, by ``home`` (tensor -> file), has already brought.

    Raises:
        CheckpointError: two files hold it.
    """
    if name in home:
        raise CheckpointError(
            f"tensor {name} is in two shards",
            where=str(path),
            received=f"also in {home[name].name}",
            next_step=AGAIN,
        )


def compare_shards(index: Path, home: Mapping[str, Path]) -> None:
    """Refuse an index that disagrees with its files.

    Args:
        index: its path.
        home: tensor -> the file that holds it.

    Raises:
        CheckpointError: they differ; all tensors at once.
    """
    promised = _weight_map(index)
    problems = [
        Problem(
            "not in the shard that the index names",
            name,
            received=home[name].name if name in home else "nowhere",
        )
        for name, shard in promised.items()
        if name not in home or home[name].name != shard
    ]
    problems += [Problem("not in the index", name) for name in home if name not in promised]
    if problems:
        raise CheckpointError(
            "index and shards disagree",
            where=str(index),
            problems=problems,
            next_step="download the checkpoint again",
        )


def _weight_map(index: Path) -> dict[str, str]:
    """Return tensor -> file of an index."""
    mapping = read_json(index).get("weight_map")
    if not isinstance(mapping, dict) or not all(isinstance(name, str) for name in mapping.values()):
        raise CheckpointError(
            "weight_map is not a mapping of tensor to file name", where=str(index), next_step=AGAIN
        )
    return mapping
