"""Where a PyTorch file keeps its pickle and storages: a ZIP archive, or one stream as before PyTorch 1.6.

In: an open file. Out: what the pickle says, and the place of each storage. Only what is at such a place
is ever read; nothing is unpacked. Knows nothing about folders or names of tensors.
"""

from __future__ import annotations

import io
import zipfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from clue_runner.checkpoints.files import AGAIN, OTHER_FORMATS, refuse_stand_in
from clue_runner.checkpoints.formats.torch_files.inert_pickle import (
    LARGEST,
    CodeError,
    PickleError,
    read_pickle,
)
from clue_runner.checkpoints.formats.torch_files.records import Storage
from clue_runner.errors import CheckpointError, RefusedFileError

ZIP, PICKLES = b"PK\x03\x04", (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
TAR_MARK, TAR_PLACE = b"ustar", 257
LARGEST_DIRECTORY = 16 * 2**20  # bytes of a ZIP's directory; 400 storages have 40,000
END, END_SIZE, NO_SIZE = b"PK\x05\x06", 22, 0xFFFFFFFF
END_64_BEFORE = 76  # bytes before the end, where a large archive has the record with its sizes
TAIL = 66_000  # last bytes of a ZIP, which hold the end of its directory
BYTE_ORDER = "the numbers in the file have the other byte order"
DAMAGED = "the archive is damaged or truncated"
ODD = "the archive has members that PyTorch never writes"
PICKLE, STORAGE, ORDER = "data.pkl", "data/", "byteorder"
SAFE = "do not use this file; get the model as model.safetensors from its publisher"
ELSEWHERE = (
    "convert it with the program that wrote it: transformers' save_pretrained writes model.safetensors"
)


@dataclass(frozen=True)
class Contents:
    """One file's pickle as data, and its storages.

    Args:
        value: what the pickle holds.
        places: key of a storage -> first byte and number of bytes.
    """

    value: Any
    places: Mapping[str, tuple[int, int]]


def read_contents(path: Path, stream: BinaryIO) -> Contents:
    """Return what a file holds; no storage is read.

    Raises:
        CheckpointError: it is not a PyTorch file, in an unsupported layout, or damaged.
        RefusedFileError: it carries code, or contradicts itself.
    """
    head = stream.read(512)
    refuse_stand_in(path, head)
    if head.startswith(ZIP):
        return _archive(path, stream)
    if head.startswith(PICKLES):
        return _stream(path, stream)
    what = next((what for mark, what in OTHER_FORMATS if head.startswith(mark)), "something else")
    if head[TAR_PLACE : TAR_PLACE + len(TAR_MARK)] == TAR_MARK:
        what = "a tar archive, as PyTorch wrote before 0.1.10"
    raise CheckpointError("not a PyTorch file", where=str(path), received=what, next_step=ELSEWHERE)


def _understood(path: Path, pickle: io.BytesIO) -> tuple[Any, dict[str, Storage]]:
    """Return what a pickle holds and the storages that it names, or the user's error."""
    try:
        return read_pickle(pickle)
    except CodeError as error:
        raise RefusedFileError(
            "the file carries code: its pickle asks for a function that weights do not need",
            where=str(path),
            received=str(error),
            next_step=f"nothing was run; {SAFE}",
        ) from None
    except PickleError as error:
        raise CheckpointError(
            f"the pickle in the file cannot be read as weights: {error}", where=str(path), next_step=AGAIN
        ) from None


def _archive(path: Path, stream: BinaryIO) -> Contents:
    """Read a ZIP archive, as PyTorch writes since 1.6: data.pkl, and a member for each storage."""
    _require_directory(path, stream)
    try:
        members = zipfile.ZipFile(stream).infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError, OverflowError, EOFError) as error:
        raise CheckpointError(DAMAGED, where=str(path), next_step=AGAIN) from error
    names = Counter(member.filename for member in members)
    odd = [name for name, count in names.items() if count > 1 or name.startswith("/") or "\\" in name]
    odd += [name for name in names if ".." in name.split("/")]
    pickles = [name for name in names if name == PICKLE or name.endswith(f"/{PICKLE}")]
    if odd or len(pickles) > 1:
        raise _refused(path, ODD, (odd or pickles)[0])
    if not pickles:
        raise CheckpointError(
            f"the archive has no {PICKLE}", where=str(path), received="another ZIP archive", next_step=AGAIN
        )
    root = pickles[0].removesuffix(PICKLE)
    if any(name.startswith(f"{root}code/") or name == f"{root}constants.pkl" for name in names):
        raise _refused(path, "the file is a program (TorchScript), not weights", f"{root}code/")
    places = {
        member.filename.removeprefix(root): _place(path, stream, member)
        for member in members
        if member.filename == pickles[0] or member.filename.startswith((f"{root}{STORAGE}", f"{root}{ORDER}"))
    }
    order = places.pop(ORDER, None)
    if order is not None and _bytes(stream, (order[0], min(order[1], 16))) != b"little":
        raise CheckpointError(
            BYTE_ORDER,
            where=str(path),
            next_step=ELSEWHERE,
        )
    start, size = places.pop(PICKLE)
    if size > LARGEST:
        raise CheckpointError(
            f"{PICKLE} has more than {LARGEST:,} bytes", where=str(path), received=f"{size:,}"
        )
    value, storages = _understood(path, io.BytesIO(_bytes(stream, (start, size))))
    found = {name.removeprefix(STORAGE): place for name, place in places.items()}
    for key, storage in storages.items():
        if key not in found or found[key][1] != storage.bytes:
            received = f"{found[key][1]:,} bytes" if key in found else "nothing"
            raise CheckpointError(
                f"storage {key[:40]!r} differs in length from what the pickle says",
                where=str(path),
                received=received,
                allowed=f"{storage.bytes:,} bytes",
                next_step=AGAIN,
            )
    return Contents(value, {key: found[key] for key in storages})


def _require_directory(path: Path, stream: BinaryIO) -> None:
    """Refuse a directory that would exhaust the memory before its names can be checked."""
    length = stream.seek(0, io.SEEK_END)
    stream.seek(max(0, length - TAIL))
    tail = stream.read(TAIL)
    bare = tail[-END_SIZE:].startswith(END) and tail.endswith(b"\0\0")  # where the library looks first
    place = len(tail) - END_SIZE if bare else tail.rfind(END)
    size = int.from_bytes(tail[place + 12 : place + 16], "little") if place >= 0 else 0
    if size == NO_SIZE:
        place -= END_64_BEFORE
        size = int.from_bytes(tail[max(0, place) + 40 : max(0, place) + 48], "little")
    if size > LARGEST_DIRECTORY:
        raise _refused(path, "the archive's directory is too large", f"{size:,} bytes")
    stream.seek(0)


def _place(path: Path, stream: BinaryIO, member: zipfile.ZipInfo) -> tuple[int, int]:
    """Return where a member's bytes lie; it is stored uncompressed."""
    if member.compress_type != zipfile.ZIP_STORED or member.flag_bits & 1:
        raise _refused(path, "a member of the archive is compressed or encrypted", member.filename)
    if member.header_offset < 0:  # counted from the end, where bytes are missing before the directory
        raise CheckpointError(DAMAGED, where=str(path), next_step=AGAIN)
    local = _bytes(stream, (member.header_offset, 30))
    if not local.startswith(ZIP) or len(local) < 30:
        raise CheckpointError(DAMAGED, where=str(path), next_step=AGAIN)
    start = member.header_offset + 30
    start += int.from_bytes(local[26:28], "little") + int.from_bytes(local[28:30], "little")
    if start + member.file_size > stream.seek(0, io.SEEK_END):
        raise CheckpointError(DAMAGED, where=str(path), next_step=AGAIN)
    return start, member.file_size


def _stream(path: Path, stream: BinaryIO) -> Contents:
    """Read the layout before PyTorch 1.6: pickles one after the other, then each storage with its length."""
    stream.seek(0)
    head = io.BytesIO(stream.read(LARGEST))
    if _understood(path, head)[0] != MAGIC or _understood(path, head)[0] != PROTOCOL:
        raise CheckpointError(
            "a pickle not written by PyTorch", where=str(path), next_step=f"nothing was run; {SAFE}"
        )
    system, _ = _understood(path, head)
    if not isinstance(system, dict) or system.get("little_endian") is not True:
        raise CheckpointError(
            BYTE_ORDER,
            where=str(path),
            next_step=ELSEWHERE,
        )
    value, storages = _understood(path, head)
    keys, _ = _understood(path, head)
    if not isinstance(keys, list) or sorted(map(str, keys)) != sorted(storages):
        raise CheckpointError("the list of storages is damaged", where=str(path), next_step=AGAIN)
    place, end, places = head.tell(), stream.seek(0, io.SEEK_END), {}
    for key in keys:
        storage = storages[key]
        count = int.from_bytes(_bytes(stream, (place, 8)), "little")
        places[key] = (place + 8, storage.bytes)
        place += 8 + storage.bytes
        if count != storage.count or place > end:
            raise CheckpointError(
                "the file is truncated, or its storages differ in length from what its pickle says",
                where=str(path),
                received=f"{end:,} bytes",
                next_step=AGAIN,
            )
    return Contents(value, places)


def _bytes(stream: BinaryIO, place: tuple[int, int]) -> bytes:
    stream.seek(place[0])
    return stream.read(place[1])


def _refused(path: Path, what: str, received: str) -> RefusedFileError:
    shown = received[:100].encode("ascii", "backslashreplace").decode()
    return RefusedFileError(what, where=str(path), received=shown, next_step=f"nothing was run; {SAFE}")
