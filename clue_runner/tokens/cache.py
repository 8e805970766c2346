"""Encoded rows kept on disk under a key made of everything that decides them.

In: key parts and a function that makes the rows. Out: the rows, from the file or made.
A cache never stops a run: what cannot be read is made again, what cannot be written is not kept, and a
warning says so. Knows nothing about tasks; the caller names the parts.

An entry is trusted only if it is a regular file that belongs to this user or to root, if the hash of its
arrays is right, and if all its ids exist: an embedding table answers a wrong id with another row or zeros.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import tempfile
import warnings
import zipfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import IO

import numpy as np

from clue_runner.config.shipped import clue_home
from clue_runner.tokens.rows import Array, GoldAnswers, Rows

# Increase this when code in clue_runner/tokens or an adapter's encode changes the rows.
TOKENS_VERSION = 4
LIBRARIES = ("tokenizers", "jieba", "opencc")  # another version may split or convert texts differently
_ALWAYS = {"key", "sha256", "described", "offsets", "record", "group"}
_NUMBERS = "biuf"  # kinds of NumPy types that rows are made of


def cached_rows(
    key_parts: Mapping[str, str],
    make: Callable[[], Rows],
    enabled: bool = True,
    *,
    limits: Mapping[str, int] | None = None,
    folder: Path | None = None,
    warn: Callable[[str], None] = warnings.warn,
) -> Rows:
    """Return the rows of ``key_parts``; where the cache has none, they are made and kept.

    Args:
        key_parts: everything that decides the rows: card content, vocabulary sha256, lower-casing,
            max length, segments, split and its data sha256, limits. This module adds its own version and
            those of the libraries that split text.
        make: encodes the rows.
        enabled: False neither reads nor writes.
        limits: name of a token column, a column or ``record`` -> number of ids; an entry with an id outside
            0 to the number - 1 is made again.
        folder: ``$CLUE_HOME/cache/rows`` by default.
        warn: called with one sentence where an entry is broken or cannot be written.
    """
    if not enabled:
        return make()
    folder = folder or clue_home() / "cache" / "rows"
    key = _key(key_parts)
    path = folder / f"{hashlib.sha256(key).hexdigest()}.npz"
    try:
        return _read(path, key, limits or {})
    except (FileNotFoundError, NotADirectoryError):
        pass
    # The file may hold anything, and NumPy's parsers may raise anything; rows can always be encoded again.
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        warn(f"{path}: cached rows cannot be used ({reason}); encoding them again")
    rows = make()
    try:
        _write(path, key, rows)
    except OSError as error:
        warn(
            f"{path}: rows are not cached ({error.strerror}); set CLUE_HOME to a writable folder to keep them"
        )
    return rows


def _key(key_parts: Mapping[str, str]) -> bytes:
    """Return the key as canonical JSON."""
    own = {"tokens_version": TOKENS_VERSION, **{name: _version(name) for name in LIBRARIES}}
    return json.dumps([own, dict(key_parts)], sort_keys=True, ensure_ascii=False).encode()


def _version(library: str) -> str | None:
    try:
        return version(library)
    except PackageNotFoundError:
        return None


def _read(path: Path, key: bytes, limits: Mapping[str, int]) -> Rows:
    """Return the rows of one file.

    Raises:
        FileNotFoundError: there is none.
        Exception: it cannot be read or trusted, for any reason.
    """
    with _open(path) as file:
        _refuse_packed(file)
        with np.load(file, allow_pickle=False) as archive:
            arrays: dict[str, Array] = {name: archive[name] for name in archive.files}
    if not arrays.keys() >= _ALWAYS:
        raise ValueError("arrays are missing")
    if arrays["key"].tobytes() != key:
        raise ValueError("the file belongs to another key")
    if arrays.pop("sha256").tobytes() != _digest(arrays):
        raise ValueError("its bytes do not match their hash")
    described = json.loads(arrays["described"].tobytes())
    rows = Rows(
        np.asarray(arrays["offsets"], np.int64),
        _under(arrays, "tokens/"),
        _under(arrays, "columns/"),
        np.asarray(arrays["record"], np.int64),
        np.asarray(arrays["group"], np.int64),
        notes=described["notes"],
        host_columns=frozenset(described["host_columns"]),
        gold=GoldAnswers(**described["gold"]),
    )
    _check_range(rows, limits)
    return rows


def _open(path: Path) -> IO[bytes]:
    """Open an entry for reading; a link, a pipe or another user's file is refused."""
    # Without O_NONBLOCK, opening a pipe would wait forever.
    file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb")
    status = os.fstat(file.fileno())
    problem = None
    if not stat.S_ISREG(status.st_mode):
        problem = "not a regular file"
    elif status.st_uid not in {os.geteuid(), 0}:
        problem = f"it belongs to user {status.st_uid}"
    if problem:
        file.close()
        raise ValueError(problem)
    return file


def _refuse_packed(file: IO[bytes]) -> None:
    """Refuse members that unpack to more than the file holds; entries are written uncompressed."""
    size = os.fstat(file.fileno()).st_size
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
    if sum(member.file_size for member in members) > size:
        raise ValueError(f"it would unpack to more than its {size:,} bytes")
    file.seek(0)


def _digest(arrays: Mapping[str, Array]) -> bytes:
    """Return one sha256 over the names, types, shapes and bytes of all arrays."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        values = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {values.dtype.str} {arrays[name].shape}\n".encode())
        digest.update(values.data)
    return digest.digest()


def _check_range(rows: Rows, limits: Mapping[str, int]) -> None:
    """Refuse arrays that are not numbers, and ids that do not exist."""
    arrays = {"record": rows.record, "group": rows.group, **rows.tokens, **rows.columns}
    for name, values in arrays.items():
        if values.dtype.kind not in _NUMBERS:
            raise ValueError(f"{name} holds {values.dtype}, not numbers")
    for name, limit in limits.items():
        values = arrays.get(name, np.zeros(0, np.int64))
        if values.size and not 0 <= int(values.min()) <= int(values.max()) < limit:
            raise ValueError(f"{name} from {values.min()} to {values.max()}, allowed are 0 to {limit - 1}")


def _under(arrays: Mapping[str, Array], prefix: str) -> dict[str, Array]:
    """Return the arrays whose names begin with ``prefix``, under their names without it."""
    return {name.removeprefix(prefix): values for name, values in arrays.items() if name.startswith(prefix)}


def _write(path: Path, key: bytes, rows: Rows) -> None:
    """Write the file under another name, then rename it, so that no reader ever sees half of it."""
    described = {
        "notes": dict(rows.notes),
        "host_columns": sorted(rows.host_columns),
        "gold": asdict(rows.gold),
    }
    arrays: dict[str, Array] = {
        "key": np.frombuffer(key, np.uint8),
        "described": np.frombuffer(json.dumps(described, ensure_ascii=False).encode(), np.uint8),
        "offsets": rows.offsets,
        "record": rows.record,
        "group": rows.group,
    }
    arrays |= {f"tokens/{name}": values for name, values in rows.tokens.items()}
    arrays |= {f"columns/{name}": values for name, values in rows.columns.items()}
    others = [name for name, values in arrays.items() if values.dtype.kind not in _NUMBERS]
    if others:
        raise ValueError(f"only numbers can be kept, not {', '.join(others)}")
    arrays["sha256"] = np.frombuffer(_digest(arrays), np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, part = tempfile.mkstemp(prefix=path.stem[:16], suffix=".part", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]
        Path(part).replace(path)
    except BaseException:
        with suppress(OSError):
            Path(part).unlink()
        raise
