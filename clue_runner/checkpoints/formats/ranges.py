"""Byte ranges of a large file, read in one pass that also hashes it: a file of 400 MB is read once.

In: a path and the ranges that are wanted. Out: their bytes and the file's sha256.
Knows nothing about what the bytes mean.
"""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from clue_runner.checkpoints.files import AGAIN, PART
from clue_runner.errors import CheckpointError
from clue_runner.files.names import open_regular

Key = TypeVar("Key", bound=Hashable)
Bytes = NDArray[np.uint8]


def read_and_hash(path: Path, ranges: Mapping[Key, tuple[int, int]]) -> tuple[dict[Key, Bytes], str]:
    """Return the bytes of each range (first byte, number of bytes), and the sha256 of the file.

    Raises:
        CheckpointError: two ranges overlap, or the file ends before one does.
    """
    digest, place = hashlib.sha256(), 0
    found: dict[Key, Bytes] = {}
    with open_regular(path, error_type=CheckpointError) as stream:
        for key, (start, size) in sorted(ranges.items(), key=lambda item: item[1]):
            if start < place:
                raise CheckpointError("two storages of the file overlap", where=str(path), next_step=AGAIN)
            while place < start and (part := stream.read(min(PART, start - place))):
                digest.update(part)
                place += len(part)
            found[key] = _fill(stream, size, path)
            digest.update(found[key].data)
            place = start + size
        while part := stream.read(PART):
            digest.update(part)
    return found, digest.hexdigest()


def read_range(path: Path, start: int, size: int) -> Bytes:
    """Return one range of a file.

    Raises:
        CheckpointError: the file ends before it does.
    """
    with open_regular(path, error_type=CheckpointError) as stream:
        stream.seek(start)
        return _fill(stream, size, path)


def _fill(stream: object, size: int, path: Path) -> Bytes:
    """Return the next bytes of a stream."""
    found: Bytes = np.empty(size, np.uint8)
    if size and stream.readinto(found.data) != size:  # type: ignore[attr-defined]
        raise CheckpointError("the file was truncated while it was read", where=str(path), next_step=AGAIN)
    return found
