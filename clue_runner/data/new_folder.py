"""Writes files into a new folder, all of them or none: nothing that exists is ever overwritten.

In: names and bytes. Out: the folder, in place. Knows nothing about the files' content.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from clue_runner.errors import StorageError, UsageError
from clue_runner.files.litter import entries


def require_new(folder: Path, option: str) -> None:
    """Refuse a folder that is not empty, or a path that is not a folder.

    Args:
        folder: where files are to be written.
        option: the option that names it.

    Raises:
        UsageError: it is not empty.
        StorageError: it cannot be read.
    """
    try:
        taken = os.path.lexists(folder) and (not folder.is_dir() or bool(entries(folder)))
    except OSError as error:
        raise _cannot_write(folder, error) from None
    if taken:
        raise UsageError(
            "the folder is not empty, and nothing is overwritten",
            where=option,
            received=str(folder),
            allowed="a new or an empty folder",
            next_step=f"name another folder: {option} {free_name(folder)}",
        )


def free_name(path: Path) -> Path:
    """Return an unused path beside ``path``."""
    number, path = 2, path.resolve() if path.name in {"", ".."} else path
    while os.path.lexists(other := path.with_name(f"{path.name}-{number}")):
        number += 1
    return other


def write_new_folder(
    folder: Path, contents: Mapping[str, bytes], option: str, *, prove: Callable[[Path], object] | None = None
) -> None:
    """Write files into a new folder, which appears with all of them or not at all.

    Args:
        folder: new, or empty.
        contents: file name -> bytes.
        option: the option that names the folder.
        prove: called with the written files before they appear; if it raises, nothing is left.

    Raises:
        UsageError: it is not empty.
        StorageError: it cannot be written; nothing is left behind.
    """
    require_new(folder, option)
    folder = folder.resolve()  # "." has no name
    site = folder.with_name(f".tmp-{folder.name[:50]}-{os.getpid()}")
    try:
        site.mkdir(parents=True)
        for name, content in contents.items():
            with (site / name).open("xb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
        if prove is not None:
            prove(site)
        require_new(folder, option)
        if folder.is_dir():  # empty, except for litter
            for path in sorted(site.iterdir()):
                path.rename(folder / path.name)
        else:
            site.rename(folder)
    except OSError as error:
        raise _cannot_write(folder, error) from None
    finally:
        shutil.rmtree(site, ignore_errors=True)


def _cannot_write(folder: Path, error: OSError) -> StorageError:
    """Return the error for a folder that cannot be written."""
    return StorageError(
        "cannot write the folder", where=str(folder), received=(error.strerror or str(error)).lower()
    )
