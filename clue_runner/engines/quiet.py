"""Keeps a backend's start-up chatter off the screen and in a file.

In: a log file. Out: a block in which the process's standard error goes there, except for our own lines.
C++ code prints before it reads any of its settings, so the file descriptor itself has to be
redirected. Knows nothing about backends.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO, cast

from clue_runner.console.streams import occupy_standard_descriptors

STANDARD_ERROR = 2


@contextmanager
def chatter_to(log: Path) -> Iterator[None]:
    """Send what libraries write to descriptor 2 to ``log``; ``sys.stderr`` still reaches the user."""
    occupy_standard_descriptors()
    target = _open_log(log)
    ours = sys.stderr
    kept = os.dup(STANDARD_ERROR)
    around = os.fdopen(os.dup(kept), "w", encoding="utf-8", errors="backslashreplace", buffering=1)
    through = _Stream(around)
    try:
        if ours is not None:
            with suppress(OSError, ValueError):  # a reader that has gone, a stream that is closed
                ours.flush()
        os.dup2(target, STANDARD_ERROR)
        if _writes_to_descriptor(ours):
            sys.stderr = cast(TextIO, through)
        yield
    finally:
        if sys.stderr is through:
            sys.stderr = ours
        through.stream = ours
        os.dup2(kept, STANDARD_ERROR)
        os.close(kept)
        os.close(target)
        with suppress(OSError):  # a closed terminal
            around.close()


class _Stream:
    """Stands in for ``sys.stderr``; a library's log handler that keeps it continues working afterwards."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def _open_log(log: Path) -> int:
    """Return a descriptor to write to; a log that cannot be kept must not stop a run."""
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        # Always a new file: an old name may be a link, and what it points to must not be emptied.
        log.unlink(missing_ok=True)
        return os.open(log, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    except OSError:
        return os.open(os.devnull, os.O_WRONLY)


def _writes_to_descriptor(stream: object) -> bool:
    """Return whether a stream is the process's own standard error, not a test's replacement."""
    try:
        return bool(stream.fileno() == STANDARD_ERROR)  # type: ignore[attr-defined]
    except (AttributeError, OSError, ValueError):
        return False
