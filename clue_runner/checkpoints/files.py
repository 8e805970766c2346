"""What every layout needs from a checkpoint folder: one reader protocol, small JSON files, one identity.

In: paths. Out: parsed JSON, hashes. Knows nothing about layouts, tensor names or libraries.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray

from clue_runner.errors import CheckpointError

MAX_JSON_BYTES = 16 * 2**20  # the index of a sharded model of thousands of tensors stays far below


class TensorReader(Protocol):
    """A checkpoint whose names and shapes are known and whose values are read one at a time."""

    files: tuple[Path, ...]

    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Return name -> shape of every tensor stored."""

    def read(self, name: str) -> NDArray[Any]:
        """Return one tensor's values as stored."""


def read_json(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file.

    Raises:
        CheckpointError: it is missing, unreadable, too large, not UTF-8, not JSON or not an object.
    """
    advice = "copy or download the checkpoint again"
    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            raise CheckpointError(
                "file is too large for a config",
                where=str(path),
                received=f"{path.stat().st_size} bytes",
                allowed=f"up to {MAX_JSON_BYTES}",
                next_step=advice,
            )
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise CheckpointError(
            f"file cannot be read: {error.strerror}", where=str(path), next_step=advice
        ) from error
    except json.JSONDecodeError as error:
        raise CheckpointError(
            f"not valid JSON: {error.msg}", where=f"{path}:{error.lineno}", next_step=advice
        ) from error
    except (UnicodeDecodeError, RecursionError) as error:
        raise CheckpointError("not valid JSON in UTF-8", where=str(path), next_step=advice) from error
    if not isinstance(content, dict):
        raise CheckpointError(
            "not a JSON object", where=str(path), received=type(content).__name__, next_step=advice
        )
    return content


def hash_files(folder: Path, files: tuple[Path, ...]) -> dict[str, str]:
    """Return name (below ``folder`` where it lies there) -> sha256 of each file's bytes, in order of name.

    Raises:
        CheckpointError: a file cannot be read.
    """
    hashes = {}
    for path in sorted(files):
        name = path.relative_to(folder).as_posix() if path.is_relative_to(folder) else path.name
        try:
            with path.open("rb") as file:
                hashes[name] = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise CheckpointError(f"file cannot be read: {error.strerror}", where=str(path)) from error
    return hashes


def combine_hashes(hashes: Mapping[str, str]) -> str:
    """Return one sha256 for several named files."""
    lines = "".join(f"{digest}  {name}\n" for name, digest in sorted(hashes.items()))
    return hashlib.sha256(lines.encode("utf-8")).hexdigest()
