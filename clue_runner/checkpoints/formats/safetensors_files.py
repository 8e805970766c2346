"""Read ``model.safetensors``, whole or in shards.

In: the file, or the index of its shards. Out: names, shapes and values under Hugging Face's names.
Knows nothing about our names.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ml_dtypes  # noqa: F401  (gives numpy the type bfloat16)
from numpy.typing import NDArray

from clue_runner.checkpoints.files import digest_of, require_file
from clue_runner.checkpoints.formats.shards import compare_shards, refuse_repeated, shard_files
from clue_runner.errors import CheckpointError, RefusedFileError
from clue_runner.files.tensors import Entry, read_entries, read_entry, read_safetensors

SINGLE = "model.safetensors"
SHARD_INDEX = "model.safetensors.index.json"

UNKNOWN_TYPE = re.compile(r"unknown variant `(\w+)`")
# Types as the files call them -> as numpy does.
TYPES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "BOOL": "bool"}
TYPES |= {
    f"{kind}{bits}": f"{name}{bits}"
    for kind, name in (("I", "int"), ("U", "uint"))
    for bits in (8, 16, 32, 64)
}

READABLE = frozenset(TYPES.values())


class SafetensorsReader:
    """The safetensors file or files of a model.

    Args:
        weights: ``model.safetensors``, or the index of its shards.

    Raises:
        CheckpointError: a shard is missing, a file is not regular, or index and shards disagree.
        RefusedFileError: a file is malformed, or the index points out of the folder.
    """

    def __init__(self, weights: Path) -> None:
        """Open the headers; no value is read."""
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._types: dict[str, str] = {}
        self._home: dict[str, Path] = {}
        self._entries: dict[str, Entry] = {}
        self._kept: dict[str, NDArray[Any]] = {}
        single = weights.suffix != ".json"
        shards = (weights,) if single else shard_files(weights)
        self.files = shards if single else (weights, *shards)
        for path in shards:
            require_file(path)
            self._read_header(path)
        if not single:
            compare_shards(weights, self._home)

    def _read_header(self, path: Path) -> None:
        """Take in what one file holds."""
        for name, entry in _entries(path).items():
            refuse_repeated(name, path, self._home)
            self._home[name], self._entries[name] = path, entry
            self._shapes[name] = entry.shape
            self._types[name] = TYPES.get(entry.kind, entry.kind)

    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Return name -> shape of every tensor stored."""
        return self._shapes

    def types(self) -> Mapping[str, str]:
        """Return name -> type of every tensor stored."""
        return self._types

    def read(self, name: str) -> NDArray[Any]:
        """Return one tensor's values."""
        if name in self._kept:
            return self._kept.pop(name)
        return read_entry(self._home[name], self._entries[name])

    def digests(self) -> Mapping[Path, str]:
        """Return the sha256 of each of its files; the values are read with it and kept for ``read``.

        A run asks for the hash before it loads: so a file of 400 MB is read only once.
        """
        found = {}
        for path in self.files:
            held = {name for name, home in self._home.items() if home == path}
            if held and all(self._types[name] in READABLE for name in held):
                file = read_safetensors(path)
                found[path] = file.sha256
                self._kept |= file.tensors
            else:
                found[path] = digest_of(path)
        return found

    def release(self) -> None:
        """Release the values kept."""
        self._kept.clear()


def _entries(path: Path) -> dict[str, Entry]:
    """Return the entries of a header; a type unknown to the library is not an attack."""
    try:
        return read_entries(path)
    except RefusedFileError as error:
        unknown = UNKNOWN_TYPE.search(str(error))
        if unknown is None:
            raise
        raise CheckpointError(
            "a tensor has an unsupported type",
            where=str(path),
            received=unknown.group(1),
            allowed="F32, F16, BF16",
            next_step="convert the checkpoint to float32",
        ) from error
