"""Where the shipped data and the user's cache lie, and what a path means that a user gave.

In: the environment, a path as text. Out: folders and paths. Knows nothing about what is in them.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Literal

from clue_runner.errors import DataError, StorageError, UsageError

PACKAGE = Path(__file__).resolve().parent.parent


def shipped_folder(kind: Literal["tasks", "configs"]) -> Path:
    """Return the folder of the shipped cards or configs.

    A wheel carries them in ``clue_runner/_shipped``; an editable install reads the visible ones at the
    top of the repository. A built copy is looked for first, so an installed wheel never reads a stray folder.
    """
    shipped = PACKAGE / "_shipped" / kind
    return shipped if shipped.is_dir() else PACKAGE.parent / kind


def clue_home() -> Path:
    """Return the folder for downloads, checkpoints and caches: ``$CLUE_HOME``, else ``~/.cache/clue``.

    Raises:
        UsageError: neither names a folder: no home folder is known.
    """
    home = os.environ.get("CLUE_HOME")
    try:
        return Path(home).expanduser() if home else Path.home() / ".cache" / "clue"
    except RuntimeError:
        raise UsageError(
            "there is no folder for downloads and caches: the home folder is not known",
            where="CLUE_HOME",
            received=home or "nothing",
            next_step="name one that may be written: CLUE_HOME=/some/folder clue ...",
        ) from None


def user_path(text: str | Path) -> Path:
    """Return the path that a user gave, ``~`` expanded; it need not exist.

    Raises:
        DataError: no system can have such a path: an unknown home folder, a zero byte, a name that is too
            long, characters that the locale cannot write.
    """
    try:
        path = Path(text).expanduser()
        os.lstat(path)
    except RuntimeError:
        raise DataError(
            "the home folder is not known", where=str(text), next_step="write the path without ~"
        ) from None
    except ValueError as error:  # a zero byte, or UnicodeEncodeError
        raise DataError("not a path", where=ascii(str(text))[1:-1][:200], received=str(error)) from None
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise DataError("not a path", where=f"{str(text)[:60]}...", received=error.strerror) from None
    return path


def absolute_path(text: str | Path) -> Path:
    """Return the path that a user gave as it is understood in every folder, links followed.

    Raises:
        DataError: as ``user_path``; or its links lead in a circle.
        StorageError: the present folder is gone or may not be looked at.
    """
    path = user_path(text)
    try:
        return path.resolve()
    except RuntimeError:
        raise DataError("the links lead in a circle", where=str(text)) from None
    except OSError as error:
        raise StorageError(
            "the folder that the command was started in cannot be used",
            where=str(text),
            received=(error.strerror or str(error)).lower(),
            next_step="change to another folder, or write the whole path",
        ) from None
