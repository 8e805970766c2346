"""A PyTorch file's description of its tensors: storages, and views of them, checked before any is read.

In: the arguments that a pickle gives for a tensor. Out: a record, or why it is refused.
Knows nothing about pickles' opcodes or where storages lie.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

MOST_AXES = 8
# The class of a storage -> the type of its numbers in the file, little-endian.
STORAGES: Mapping[str, Any] = {
    "torch.FloatStorage": "<f4",
    "torch.HalfStorage": "<f2",
    "torch.BFloat16Storage": ml_dtypes.bfloat16,
    "torch.DoubleStorage": "<f8",
    "torch.LongStorage": "<i8",
    "torch.IntStorage": "<i4",
    "torch.ShortStorage": "<i2",
    "torch.CharStorage": "<i1",
    "torch.ByteStorage": "<u1",
    "torch.BoolStorage": "?",
}


class RecordError(ValueError):
    """Arguments that do not describe a tensor; the text says why."""


@dataclass(frozen=True)
class Storage:
    """A run of numbers of one type.

    Args:
        key: its name in the file.
        kind: numpy's type.
        count: of numbers.
    """

    key: str
    kind: np.dtype[Any]
    count: int

    @property
    def bytes(self) -> int:
        """Return its size in the file."""
        return self.count * self.kind.itemsize


@dataclass(frozen=True)
class TensorRecord:
    """A tensor: which numbers of a storage it is made of.

    Args:
        storage: where its numbers are.
        start: place of the first one.
        shape: its axes.
        strides: steps between neighbours on each axis, in numbers.
    """

    storage: Storage
    start: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def view(self, numbers: NDArray[Any]) -> NDArray[Any]:
        """Return the tensor as a view on its storage's numbers."""
        kind = self.storage.kind
        if 0 in self.shape:
            return np.empty(self.shape, kind)
        strides = [step * kind.itemsize for step in self.strides]
        return np.ndarray(self.shape, kind, numbers.data, self.start * kind.itemsize, strides)


def make_storage(persistent: object, classes: Mapping[str, Any] = STORAGES) -> Storage:
    """Return the storage that a persistent id names: ('storage', class, key, device, count, ...).

    Args:
        persistent: the tuple; the class is given by its name.
        classes: name of a class -> type.

    Raises:
        RecordError: it is invalid, or a view of another storage, as before PyTorch 0.4.
    """
    if not isinstance(persistent, tuple) or len(persistent) not in {5, 6} or persistent[0] != "storage":
        raise RecordError("a reference to something other than a storage")
    _, name, key, _, count, *further = persistent
    if not isinstance(name, str) or name not in classes:
        raise RecordError("a storage of a class that is not supported")
    if not isinstance(key, str) or not _whole(count):
        raise RecordError("a storage without a name or a size")
    if any(part is not None for part in further):
        raise RecordError("a storage that is a part of another, as PyTorch wrote them before 0.4")
    return Storage(key, np.dtype(classes[name]), count)


def make_tensor(arguments: Sequence[Any]) -> TensorRecord:
    """Return the tensor of ``_rebuild_tensor_v2``'s arguments, every element a number of its own.

    Raises:
        RecordError: sizes, strides or offsets outside the storage, or by which two elements share a number:
            a few bytes would stand for a tensor of any size.
    """
    if len(arguments) < 4:
        raise RecordError("a tensor with too few arguments")
    storage, start, shape, strides = arguments[:4]
    if not isinstance(storage, Storage):
        raise RecordError("a tensor without a storage")
    sizes, steps = _numbers(shape), _numbers(strides)
    if sizes is None or steps is None or len(sizes) != len(steps) or not _whole(start):
        raise RecordError("a tensor whose offset, sizes or strides are not numbers")
    if 0 not in sizes:
        last = start + sum((size - 1) * step for size, step in zip(sizes, steps, strict=True))
        if last >= storage.count:
            raise RecordError(f"a tensor of shape {list(sizes)} outside its {storage.count:,} numbers")
        reach = 0
        for step, size in sorted((step, size) for size, step in zip(sizes, steps, strict=True) if size > 1):
            if step <= reach:
                raise RecordError(f"a tensor of shape {list(sizes)} whose elements share numbers")
            reach += (size - 1) * step
    return TensorRecord(storage, start, sizes, steps)


def _numbers(value: object) -> tuple[int, ...] | None:
    """Return a tuple of whole numbers from 0; None if it is not one."""
    if not isinstance(value, tuple) or len(value) > MOST_AXES or not all(map(_whole, value)):
        return None
    return value


def _whole(value: object) -> bool:
    return type(value) is int and 0 <= value < 2**48
