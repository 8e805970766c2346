"""Where the shipped data and the user's cache lie, and what a user's path means.

In: the environment, a path as text. Out: folders and paths. Knows nothing about what is in them.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Literal

from clue_runner.errors import DataError, StorageError, UsageError, unknown_name

PACKAGE = Path(__file__).resolve().parent.parent


def shipped_folder(kind: Literal["tasks", "configs"]) -> Path:
    """Return the folder of the shipped cards or configs.

    A wheel carries them in ``clue_runner/_shipped``; an editable install reads the visible ones at the
    top of the repository. A built copy is looked for first, so an installed wheel never reads a stray folder.
    """
    shipped = PACKAGE / "_shipped" / kind
    return shipped if shipped.is_dir() else PACKAGE.parent / kind


def config_names(folder: str) -> tuple[str, ...]:
    """Return the names of the files that ship in a folder of ``configs``, sorted."""
    return tuple(sorted(path.stem for path in (shipped_folder("configs") / folder).glob("*.yaml")))


def find_config_file(text: str, folder: str, *, kind: str, what: str, list_command: str) -> Path:
    """Return the file that an option means: the name of one that ships first, then a path.

    Args:
        text: as the user gave it.
        folder: of ``configs`` in which such files ship.
        kind: the file's kind, for the message about an unknown name.
        what: the same, for the message about a path.
        list_command: names all that ship.

    Raises:
        UsageError: none has this name.
        DataError: it is written as a path that does not exist.
    """
    names = config_names(folder)
    if text in names:
        return shipped_folder("configs") / folder / f"{text}.yaml"
    path = user_path(text)
    if path.is_file():
        return path
    if "/" in text or "\\" in text or path.suffix in {".yaml", ".yml"}:
        raise DataError(f"there is no {what} at {text}", next_step=f"shipped {kind}s: {', '.join(names)}")
    raise unknown_name(kind, text, names, list_command=list_command)


def shown_config(path: Path) -> str:
    """Return how messages name a file of settings: shipped ones from ``configs`` on, others as given."""
    root = shipped_folder("configs").parent
    return str(path.relative_to(root)) if path.is_relative_to(root) else str(path)


def clue_home() -> Path:
    """Return the folder for downloads, checkpoints and caches: ``$CLUE_HOME``, else ``~/.cache/clue``.

    Raises:
        UsageError: neither is known: there is no home folder.
    """
    home = os.environ.get("CLUE_HOME")
    try:
        return Path(home).expanduser() if home else Path.home() / ".cache" / "clue"
    except RuntimeError:
        raise UsageError(
            "there is no folder for downloads and caches: the home folder is unknown",
            where="CLUE_HOME",
            received=home or "nothing",
            next_step="name a writable one: CLUE_HOME=/some/folder clue ...",
        ) from None


def user_path(text: str | Path) -> Path:
    """Return the path that a user gave, ``~`` expanded; it need not exist.

    Raises:
        DataError: the path is impossible: an unknown home folder, a zero byte, a name that is too
            long, characters that the locale cannot write.
    """
    try:
        path = Path(text).expanduser()
        os.lstat(path)
    except RuntimeError:
        raise DataError(
            "the home folder is unknown", where=str(text), next_step="write the path without ~"
        ) from None
    except ValueError as error:  # a zero byte, or UnicodeEncodeError
        raise DataError("not a path", where=ascii(str(text))[1:-1][:200], received=str(error)) from None
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise DataError("not a path", where=f"{str(text)[:60]}...", received=error.strerror) from None
    return path


_given: dict[str, str] = {}


def remembered_path(text: str | Path) -> Path:
    """Return a user's path as ``absolute_path`` does; ``as_given`` then finds what the user wrote."""
    path = absolute_path(text)
    _given[str(path)] = str(text)
    return path


def as_given(path: str | Path) -> Path:
    """Return a path that was made absolute as the user gave it, ``~`` expanded; any other as it is.

    A setting holds the absolute path, since it means the same file in another folder; a message names the
    path that the user knows. After a change of folder, where that would be another file, it stays absolute.
    """
    given = _given.get(str(path))
    if given is None or str(absolute_path(given)) != str(path):
        return Path(path)
    return user_path(given)


def absolute_path(text: str | Path) -> Path:
    """Return a user's path as an absolute one, links followed.

    Raises:
        DataError: as ``user_path``; or its links form a circle.
        StorageError: the current folder is gone or not readable.
    """
    path = user_path(text)
    try:
        return path.resolve()
    except RuntimeError:
        raise DataError("the links form a circle", where=str(text)) from None
    except OSError as error:
        raise StorageError(
            "the folder that the command was started in cannot be used",
            where=str(text),
            received=(error.strerror or str(error)).lower(),
            next_step="change to another folder, or give an absolute path",
        ) from None
