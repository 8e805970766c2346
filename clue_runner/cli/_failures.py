"""What ends a command: the message, the exit code, and a log where the mistake is ours.

In: exceptions. Out: exit codes; messages on the console. The report of a failure cannot itself fail.
Knows nothing about what commands do.
"""

from __future__ import annotations

import errno
import os
import sys
import time
import traceback
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from clue_runner.console import Console

# What the system refuses because of the disk, permissions or its own limits: not our bug.
STORAGE_ERRORS = {
    getattr(errno, name)
    for name in (
        *("ENOSPC", "EDQUOT", "EROFS", "EACCES", "EPERM", "ENOTDIR", "EIO", "ENAMETOOLONG", "ELOOP"),
        *("EMFILE", "ENFILE", "ESTALE", "ETIMEDOUT", "EFBIG", "ENODEV", "ENXIO", "EBUSY", "ETXTBSY"),
    )
    if hasattr(errno, name)
}


def report(state: dict[str, Any], error: Exception) -> int:
    """Report an exception by its kind: user mistake, disk, memory, or our bug; nothing is raised here."""
    from clue_runner.errors import ClueError, ScoreTooLowError

    if state["debug"]:
        _print_traceback(error)
    if isinstance(error, ClueError):
        # A run with a low score is complete: its result stays the last line of --json.
        return fail(state, str(error), error.exit_code, event=not isinstance(error, ScoreTooLowError))
    if isinstance(error, MemoryError):
        return fail(state, "out of memory\n  next: a smaller --set train.token_budget=N", 7)
    if isinstance(error, OSError) and (text := _storage_text(error)):
        return fail(state, text, 8)
    last = traceback.format_exception_only(error)[-1].strip()
    return fail(state, f"{last}\n  this is a bug in clue: please report it with {_write_log(error)}", 1)


def _storage_text(error: OSError) -> str | None:
    """Return the message for an error of the system; None where it is our bug."""
    reason = (error.strerror or str(error)).lower()
    if error.errno in STORAGE_ERRORS:
        return f"{error.filename}: {reason}" if error.filename else reason
    if isinstance(error, FileNotFoundError) and not _has_current_folder():
        return "the folder that the command was started in no longer exists\n  next: change to another folder"
    return None


def _has_current_folder() -> bool:
    """Return whether the folder that the process was started in is still there."""
    try:
        Path.cwd()
    except OSError:
        return False
    return True


def _print_traceback(error: Exception) -> None:
    """Print a traceback where anybody can read it."""
    with suppress(Exception):
        traceback.print_exception(error)


def fail(state: dict[str, Any], text: str, exit_code: int, *, event: bool = True) -> int:
    """Print the message that ends the command; ``event``: with ``--json`` as an event too."""
    from clue_runner.console import Console

    console: Console = state.get("console") or Console()
    console.failure(text, exit_code=exit_code, event=event)
    return exit_code


def click_message(error: click.ClickException) -> str:
    """Return click's message in the shape of ours: what is wrong, then what to run next."""
    message = error.format_message()
    context = getattr(error, "ctx", None)
    text = message[:1].lower() + message[1:]
    return f"{text}\n  next: {context.command_path} --help" if context else text


def _write_log(error: Exception) -> str:
    """Write the traceback to a file and return its path; to stderr where no file can be written."""
    from clue_runner.config.shipped import clue_home

    try:
        text = "".join(traceback.format_exception(error))
        path = clue_home() / "logs" / f"error-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.log"
        path.parent.mkdir(parents=True, exist_ok=True)
        content = f"clue {' '.join(sys.argv[1:])}\n{text}"
        path.write_bytes(content.encode("utf-8", "backslashreplace"))  # argv may hold any bytes
    except Exception:  # an unknown home, a full disk: the earlier error is reported
        _print_traceback(error)
        return "the traceback above"
    return str(path)
