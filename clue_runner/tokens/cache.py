"""Encoded rows kept on disk under a key made of everything that decides them.

In: key parts and a function that makes the rows. Out: the rows, from the file or made.
A cache never stops a run: what cannot be read is made again, what cannot be written is not kept, and
either is said. Knows nothing about tasks; the caller names the parts.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import warnings
import zipfile
import zlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

import numpy as np

from clue_runner.config.shipped import clue_home
from clue_runner.tokens.rows import Array, GoldAnswers, Rows

# Raise it when the code in clue_runner/tokens or an adapter's encode would give other rows.
TOKENS_VERSION = 3
_UNREADABLE = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError)


def cached_rows(
    key_parts: Mapping[str, str],
    make: Callable[[], Rows],
    enabled: bool = True,
    *,
    folder: Path | None = None,
    warn: Callable[[str], None] = warnings.warn,
) -> Rows:
    """Return the rows of ``key_parts``, made and kept where the cache has none.

    Args:
        key_parts: everything that decides the rows: card content, vocabulary sha256, lower-casing,
            max length, segments, split and its data sha256, limits. This module adds its own version and
            the tokenising library's.
        make: encodes the rows.
        enabled: False: neither read nor write.
        folder: default ``$CLUE_HOME/cache/rows``.
        warn: called with one sentence where the cache is broken or not writable.
    """
    if not enabled:
        return make()
    folder = folder or clue_home() / "cache" / "rows"
    key = _key(key_parts)
    path = folder / f"{hashlib.sha256(key).hexdigest()}.npz"
    try:
        if path.exists():
            return _read(path, key)
    except _UNREADABLE as error:
        warn(f"{path}: cached rows cannot be used ({error}); they are made again")
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
    own = {"tokens_version": TOKENS_VERSION, "tokenizers": version("tokenizers")}
    return json.dumps([own, dict(key_parts)], sort_keys=True, ensure_ascii=False).encode()


def _read(path: Path, key: bytes) -> Rows:
    """Return the rows of one file; the zip's checksums and ``Rows`` itself refuse broken ones."""
    with np.load(path, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    if arrays["key"].tobytes() != key:
        raise ValueError("the file belongs to another key")
    described = json.loads(arrays["described"].tobytes())
    return Rows(
        arrays["offsets"],
        _under(arrays, "tokens/"),
        _under(arrays, "columns/"),
        arrays["record"],
        arrays["group"],
        notes=described["notes"],
        host_columns=frozenset(described["host_columns"]),
        gold=GoldAnswers(**described["gold"]),
    )


def _under(arrays: Mapping[str, Array], prefix: str) -> dict[str, Array]:
    """Return the arrays whose name begins with ``prefix``, without it."""
    return {name.removeprefix(prefix): values for name, values in arrays.items() if name.startswith(prefix)}


def _write(path: Path, key: bytes, rows: Rows) -> None:
    """Write one file under another name and rename it: a reader never sees half of it."""
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
    objects = [name for name, values in arrays.items() if values.dtype.hasobject]
    if objects:
        raise ValueError(f"arrays of Python objects cannot be kept: {', '.join(objects)}")
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
