"""The tensors of ``tf_model.h5``, as ``transformers`` saved TensorFlow models until its version 4.

In: the file. Out: names, shapes and values under the names that the same model has in PyTorch's files,
kernels with their axes as there. The library reads the list of tensors alone; values are read from their
places in the file. Links and tensors that lie elsewhere are refused. Knows nothing about our names.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clue_runner.checkpoints.files import AGAIN, refuse_stand_in
from clue_runner.checkpoints.formats.ranges import Bytes, read_and_hash, read_range
from clue_runner.errors import CheckpointError, RefusedFileError
from clue_runner.files.names import open_regular

FILE = "tf_model.h5"
MARK = b"\x89HDF\r\n\x1a\n"
MOST_ENTRIES, DEEPEST = 20_000, 16
OPTIMIZER = "optimizer_weights"  # of a whole Keras model, beside its own weights
SAFE = "do not use this file; get the model as model.safetensors from its publisher"
# Last part of a TensorFlow name -> of PyTorch's.
LAST = {"kernel": "weight", "gamma": "weight", "beta": "bias", "embeddings": "weight"}
SCOPE = re.compile(r"^[^/]*___(?=.)")  # "mlm___cls": the head's own name, and where it lies
NUMBERED = "_._"


@dataclass(frozen=True)
class Tensor:
    """Where one tensor lies: first byte, type, and shape as stored; ``swapped``: it is a kernel."""

    start: int
    kind: np.dtype[Any]
    stored: tuple[int, ...]
    swapped: bool

    @property
    def size(self) -> int:
        """Return its bytes."""
        return int(np.prod(self.stored, dtype=np.int64)) * self.kind.itemsize

    @property
    def shape(self) -> tuple[int, ...]:
        """Return its shape with the axes in PyTorch's order."""
        return self.stored[::-1] if self.swapped else self.stored


class KerasReader:
    """One HDF5 file of weights.

    Args:
        path: the file.

    Raises:
        CheckpointError: it is damaged, or has no such weights.
        RefusedFileError: it points to other files, or would exhaust the memory.
    """

    def __init__(self, path: Path) -> None:
        """Read the list of tensors; no value is read."""
        self.files: tuple[Path, ...] = (path,)
        self._path = path
        with open_regular(path, error_type=CheckpointError) as stream:
            head = stream.read(512)
        refuse_stand_in(path, head)
        if not head.startswith(MARK):
            raise _damaged(path, "it is not an HDF5 file")
        self._tensors: dict[str, Tensor] = {}
        self._kept: dict[str, Bytes] = {}
        for name, tensor in _listed(path):
            if name in self._tensors:
                raise _damaged(path, f"it contains {name} twice")
            self._tensors[name] = tensor
        if not self._tensors:
            raise _damaged(path, "it contains no tensors")

    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Return name -> shape of every tensor stored."""
        return {name: tensor.shape for name, tensor in self._tensors.items()}

    def types(self) -> Mapping[str, str]:
        """Return name -> type of every tensor stored."""
        return {name: tensor.kind.name for name, tensor in self._tensors.items()}

    def read(self, name: str) -> NDArray[Any]:
        """Return one tensor's values."""
        tensor = self._tensors[name]
        raw = (
            self._kept.pop(name) if name in self._kept else read_range(self._path, tensor.start, tensor.size)
        )
        value = raw.view(tensor.kind).reshape(tensor.stored)
        return value.T if tensor.swapped else value

    def digests(self) -> Mapping[Path, str]:
        """Return the file's sha256; the values are read with it and kept for ``read``."""
        places = {name: (tensor.start, tensor.size) for name, tensor in self._tensors.items()}
        self._kept, digest = read_and_hash(self._path, places)
        return {self._path: digest}

    def release(self) -> None:
        """Release the values kept."""
        self._kept.clear()


def face_name(path: str) -> tuple[str, bool]:
    """Return the name that a tensor of the file has in PyTorch's, and whether it is a kernel.

    Examples:
        >>> face_name("bert/tf_bert_model/bert/encoder/layer_._0/output/dense/kernel:0")
        ('bert.encoder.layer.0.output.dense.weight', True)
    """
    # The layer's group, then the model's scope; below them are the names that both programs share.
    parts = path.removesuffix(":0").split("/")[2:] or path.removesuffix(":0").split("/")
    parts = [part for whole in parts for part in SCOPE.sub("", whole).split(NUMBERED)]
    return ".".join([*parts[:-1], LAST.get(parts[-1], parts[-1])]), parts[-1] == "kernel"


def _listed(path: Path) -> Iterator[tuple[str, Tensor]]:
    """Yield the tensors of a file."""
    import h5py

    # The library raises OSError, KeyError, RuntimeError, ... for damage; it is the file's fault.
    try:
        with h5py.File(path, "r") as file:
            found = [(inner, _place(path, inner, data)) for inner, data in _datasets(path, file, h5py)]
    except (CheckpointError, RefusedFileError):
        raise
    except Exception as error:
        raise _damaged(path, str(error).partition("\n")[0][:200]) from error
    for inner, tensor in found:
        name, swapped = face_name(inner)
        yield name, Tensor(tensor.start, tensor.kind, tensor.stored, swapped and len(tensor.stored) == 2)


def _datasets(path: Path, file: Any, h5py: Any) -> Iterator[tuple[str, Any]]:
    """Yield path -> dataset of all that is in the file itself."""
    waiting, count = [("", file, 0)], 0
    while waiting:
        prefix, group, depth = waiting.pop()
        for key in group:
            count += 1
            if count > MOST_ENTRIES or depth > DEEPEST:
                raise _refused(path, "the file has more groups than a model can have", f"{prefix}{key}")
            if not isinstance(group.get(key, getlink=True), h5py.HardLink):
                raise _refused(
                    path, "the file contains a link, which may lead to another file", f"{prefix}{key}"
                )
            item = group[key]
            if isinstance(item, h5py.Dataset):
                yield f"{prefix}{key}", item
            elif isinstance(item, h5py.Group) and f"{prefix}{key}" != OPTIMIZER:
                waiting.append((f"{prefix}{key}/", item, depth + 1))


def _place(path: Path, name: str, data: Any) -> Tensor:
    """Return where a dataset lies in the file."""
    if data.external is not None or data.is_virtual:
        raise _refused(path, "the file reads its values from another file", name)
    kind = data.dtype
    if kind.kind not in "fiub" or kind.byteorder == ">":
        raise _damaged(path, f"{name[:100]} has the type {kind.str}, which weights never have")
    tensor = Tensor(data.id.get_offset() or 0, kind, tuple(data.shape), swapped=False)
    if tensor.size and (data.id.get_offset() is None or data.id.get_storage_size() != tensor.size):
        raise _refused(path, "a tensor of the file is compressed or not stored contiguously", name)
    return tensor


def _damaged(path: Path, reason: str) -> CheckpointError:
    return CheckpointError(f"the file cannot be read as weights: {reason}", where=str(path), next_step=AGAIN)


def _refused(path: Path, what: str, received: str) -> RefusedFileError:
    shown = received[:100].encode("ascii", "backslashreplace").decode()
    return RefusedFileError(what, where=str(path), received=shown, next_step=SAFE)
