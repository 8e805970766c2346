"""Read a Hugging Face folder: config.json, model.safetensors or shards.

In: a folder. Out: names, shapes and values under Hugging Face's names.
Only ``safetensors`` files are opened; a pickle (``pytorch_model.bin``) can run code and is left unread.
Knows nothing about our names.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from numpy.typing import NDArray

from clue_runner.checkpoints.files import read_json
from clue_runner.errors import CheckpointError, Problem, RefusedFileError
from clue_runner.files.tensors import open_safetensors

CONFIG = "config.json"
SINGLE = "model.safetensors"
SHARD_INDEX = "model.safetensors.index.json"


class HuggingFaceReader:
    """The safetensors file or files of a folder.

    Raises:
        CheckpointError: a shard is missing, or index and shards disagree.
        RefusedFileError: a file is malformed, or the index points out of the folder.
    """

    def __init__(self, folder: Path) -> None:
        """Open the headers; no value is read."""
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._home: dict[str, Path] = {}
        single, index = folder / SINGLE, folder / SHARD_INDEX
        shards = (single,) if single.exists() else _shards(index)
        self.files = shards if single.exists() else (index, *shards)
        for path in shards:
            with open_safetensors(path) as file:
                for name in file.keys():  # noqa: SIM118  (a reader, not a dict)
                    if name in self._home:
                        raise CheckpointError(
                            f"tensor {name} is in two shards",
                            where=str(path),
                            received=f"also in {self._home[name].name}",
                        )
                    self._home[name] = path
                    self._shapes[name] = tuple(file.get_slice(name).get_shape())
        if not single.exists():
            _compare(index, self._home)

    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Return name -> shape of every tensor stored."""
        return self._shapes

    def read(self, name: str) -> NDArray[Any]:
        """Return one tensor's values."""
        with open_safetensors(self._home[name]) as file:
            value: NDArray[Any] = file.get_tensor(name)
        return value


def _shards(index: Path) -> tuple[Path, ...]:
    """Return the shard files that the index names."""
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
    missing = [name for name in names if not (index.parent / name).exists()]
    if missing:
        raise CheckpointError(
            "shards are missing",
            where=str(index.parent),
            problems=[Problem("no such file", name) for name in missing],
            next_step="download the missing files into the folder",
        )
    return tuple(index.parent / name for name in names)


def _weight_map(index: Path) -> dict[str, str]:
    """Return tensor -> shard file of an index."""
    mapping = read_json(index).get("weight_map")
    if not isinstance(mapping, dict) or not all(isinstance(name, str) for name in mapping.values()):
        raise CheckpointError("weight_map is not a mapping of tensor to file name", where=str(index))
    return mapping


def _compare(index: Path, home: Mapping[str, Path]) -> None:
    """Refuse an index that does not say what its shards hold."""
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
