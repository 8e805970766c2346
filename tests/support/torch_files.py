"""PyTorch files written opcode by opcode, without PyTorch: good ones, and ones that nobody writes."""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

KINDS = {
    "float32": "FloatStorage",
    "float16": "HalfStorage",
    "bfloat16": "BFloat16Storage",
    "int64": "LongStorage",
}
STOP = b"."


def function(module: str, name: str) -> bytes:
    """The opcode that imports a function."""
    return b"c" + module.encode() + b"\n" + name.encode() + b"\n"


def text(value: str) -> bytes:
    raw = value.encode()
    return b"X" + struct.pack("<I", len(raw)) + raw


def number(value: int) -> bytes:
    if value >= 0 and value < 2**31:
        return b"J" + struct.pack("<i", value)
    raw = value.to_bytes(16, "little", signed=True)
    return b"\x8a\x10" + raw


def group(*parts: bytes) -> bytes:
    """A tuple."""
    return b"(" + b"".join(parts) + b"t"


def storage(key: str, count: int, kind: str = "FloatStorage", *further: bytes) -> bytes:
    return (
        group(text("storage"), function("torch", kind), text(key), text("cpu"), number(count), *further)
        + b"Q"
    )


def tensor(where: bytes, shape: tuple[int, ...], strides: tuple[int, ...], start: int = 0) -> bytes:
    sizes, steps = (group(*map(number, values)) for values in (shape, strides))
    hooks = function("collections", "OrderedDict") + b")R"
    arguments = group(where, number(start), sizes, steps, b"\x89", hooks)
    return function("torch._utils", "_rebuild_tensor_v2") + arguments + b"R"


def mapping(values: Mapping[str, bytes]) -> bytes:
    """An ordered mapping, with the attribute that PyTorch gives to a state dict."""
    inner = b"".join(text(name) + value for name, value in values.items())
    attribute = b"}" + text("_metadata") + function("collections", "OrderedDict") + b")Rs"
    return function("collections", "OrderedDict") + b")R(" + inner + b"u" + attribute + b"b"


def pickle(value: bytes) -> bytes:
    return b"\x80\x02" + value + STOP


def state(tensors: Mapping[str, np.ndarray]) -> tuple[bytes, dict[str, bytes]]:
    """A state dict's pickle, and its storages."""
    values, storages = {}, {}
    for index, (name, array) in enumerate(tensors.items()):
        steps = tuple(step // array.itemsize for step in np.empty(array.shape, array.dtype).strides)
        where = storage(str(index), array.size, KINDS[array.dtype.name])
        values[name] = tensor(where, array.shape, steps)
        storages[str(index)] = np.ascontiguousarray(array).tobytes()
    return mapping(values), storages


def write_archive(
    path: Path, value: bytes, storages: Mapping[str, bytes] = {}, root="archive", extra=()
) -> Path:
    """The layout since PyTorch 1.6."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{root}/data.pkl", pickle(value))
        for name, raw in storages.items():
            archive.writestr(f"{root}/data/{name}", raw)
        for name, raw in extra:
            archive.writestr(name, raw)
    return path


def write_stream(path: Path, value: bytes, storages: Mapping[str, bytes] = {}) -> Path:
    """The layout before PyTorch 1.6."""
    path.parent.mkdir(parents=True, exist_ok=True)
    magic = b"\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19"
    system = b"}(" + text("little_endian") + b"\x88u"
    keys = b"](" + b"".join(map(text, storages)) + b"e"
    head = b"".join(map(pickle, (magic, number(1001), system, value, keys)))
    body = b"".join(struct.pack("<q", len(raw) // 4) + raw for raw in storages.values())
    path.write_bytes(head + body)
    return path
