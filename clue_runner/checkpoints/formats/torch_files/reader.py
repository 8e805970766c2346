"""The tensors of ``pytorch_model.bin``, of its shards, or of a ``.pt``.

In: the file, or the index of several. Out: names, shapes and values under the names in the file.
Knows nothing about our names.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from clue_runner.checkpoints.files import digest_of
from clue_runner.checkpoints.formats.ranges import Bytes, read_and_hash, read_range
from clue_runner.checkpoints.formats.shards import compare_shards, refuse_repeated, shard_files
from clue_runner.checkpoints.formats.torch_files.layouts import read_contents
from clue_runner.checkpoints.formats.torch_files.records import TensorRecord
from clue_runner.errors import CheckpointError
from clue_runner.files.names import open_regular

SINGLE = "pytorch_model.bin"
SHARD_INDEX = "pytorch_model.bin.index.json"
SUFFIXES = (".pt", ".pth", ".bin")
# Keys under which training scripts keep the weights beside other things.
NESTED = ("state_dict", "model_state_dict", "model", "module")


class TorchReader:
    """The PyTorch file or files of a model; a storage is read when its first tensor is asked for.

    Args:
        weights: the file, or the index of its shards.

    Raises:
        CheckpointError: a file is damaged, or index and shards disagree.
        RefusedFileError: a file carries code.
    """

    def __init__(self, weights: Path) -> None:
        """Read the pickles; no value is read."""
        self._records: dict[str, TensorRecord] = {}
        self._home: dict[str, Path] = {}
        self._places: dict[Path, Mapping[str, tuple[int, int]]] = {}
        self._kept: dict[tuple[Path, str], Bytes] = {}
        single = weights.suffix != ".json"
        shards = (weights,) if single else shard_files(weights)
        self.files = shards if single else (weights, *shards)
        for path in shards:
            self._read_pickle(path)
        if not single:
            compare_shards(weights, self._home)
        self._users = Counter(
            (self._home[name], record.storage.key) for name, record in self._records.items()
        )

    def _read_pickle(self, path: Path) -> None:
        """Take in the content of one file."""
        with open_regular(path, error_type=CheckpointError) as stream:
            contents = read_contents(path, stream)
        self._places[path] = contents.places
        for name, record in _tensors(path, contents.value).items():
            refuse_repeated(name, path, self._home)
            self._records[name], self._home[name] = record, path

    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Return name -> shape of every tensor stored."""
        return {name: record.shape for name, record in self._records.items()}

    def types(self) -> Mapping[str, str]:
        """Return name -> type of every tensor stored."""
        return {name: record.storage.kind.name for name, record in self._records.items()}

    def read(self, name: str) -> NDArray[Any]:
        """Return one tensor's values."""
        record, path = self._records[name], self._home[name]
        place = path, record.storage.key
        if place not in self._kept:
            self._kept[place] = read_range(path, *self._places[path][record.storage.key])
        self._users[place] -= 1
        # Tied tensors share a storage, which is released with the last of them.
        numbers = self._kept[place] if self._users[place] > 0 else self._kept.pop(place)
        return record.view(numbers)

    def digests(self) -> Mapping[Path, str]:
        """Return the sha256 of each of its files; the values are read with it and kept for ``read``."""
        found = {}
        for path in self.files:
            if path not in self._places:
                found[path] = digest_of(path)
                continue
            values, found[path] = read_and_hash(path, self._places[path])
            self._kept |= {(path, key): value for key, value in values.items()}
        return found

    def release(self) -> None:
        """Release the values kept."""
        self._kept.clear()


def _tensors(path: Path, value: Any) -> dict[str, TensorRecord]:
    """Return the tensors by name: of the mapping itself, or of the one in it that holds the weights."""
    if isinstance(value, dict):
        inner = next((value[key] for key in NESTED if isinstance(value.get(key), dict)), value)
        for mapping in (inner, value):
            found = {name: part for name, part in mapping.items() if isinstance(part, TensorRecord)}
            if found and all(isinstance(name, str) for name in found):
                return found
    raise CheckpointError(
        "the file has no mapping of names to tensors",
        where=str(path),
        received=type(value).__name__,
        next_step="save the weights alone: torch.save(model.state_dict(), FILE)",
    )
