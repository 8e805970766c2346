"""Standard streams that nobody may be listening to.

In: text and a stream. Out: the text written, or silence where the stream is gone. A reader of standard output
that has gone ends the process, as SIGPIPE would (``| head -1``); without standard error everything goes on.
Knows nothing about what is said.
"""

from __future__ import annotations

import errno
import os
import sys
from typing import NoReturn, TextIO

BROKEN_PIPE_EXIT = 141  # 128 + SIGPIPE, what every filter gives when its reader has gone
# The terminal was closed, the reader has left, the descriptor was never open.
GONE = {errno.EPIPE, errno.EIO, errno.EBADF, errno.ENXIO}
STANDARD_DESCRIPTORS = 3


def put(text: str, stream: TextIO | None) -> None:
    """Write and flush.

    Raises:
        SystemExit: the reader of standard output has gone.
        OSError: standard output goes to a file that cannot be written: a full disk.
    """
    if stream is None:  # closed when the process started
        return
    try:
        stream.write(text)
        stream.flush()
    except UnicodeEncodeError:
        put(text.encode("ascii", "backslashreplace").decode("ascii"), stream)
    except ValueError:  # closed since
        return
    except OSError as error:
        is_output = stream is sys.stdout
        silence(stream)
        if is_output and error.errno == errno.EPIPE:
            leave_broken_pipe()
        if is_output and error.errno not in GONE:
            raise


def is_terminal(stream: TextIO | None) -> bool:
    """Return whether a person looks at the stream; one that is closed has nobody."""
    try:
        return stream is not None and stream.isatty()
    except ValueError:
        return False


def silence(stream: TextIO | None) -> None:
    """Send a stream's descriptor to nowhere, so that what it still holds cannot fail at the last flush."""
    if stream is None:
        return
    try:
        descriptor = stream.fileno()
        null = os.open(os.devnull, os.O_WRONLY)
    except (OSError, ValueError):  # a replaced stream without a descriptor has nothing to flush
        return
    os.dup2(null, descriptor)
    os.close(null)


def leave_broken_pipe() -> NoReturn:
    """End the process as SIGPIPE would, without Python's complaint at its last flush."""
    silence(sys.stdout)
    silence(sys.stderr)
    raise SystemExit(BROKEN_PIPE_EXIT)


def occupy_standard_descriptors() -> None:
    """Open the null device for every standard stream that was closed when the process started.

    They stay open. The next file opened would otherwise get the number, a saved state for instance, and
    whatever a library prints would be written into it.
    """
    for descriptor in range(STANDARD_DESCRIPTORS):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is this one


class SafeStream:
    """A stream for a library that writes by itself: what cannot be written is lost, nothing is raised."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.encoding = getattr(stream, "encoding", None) or "utf-8"

    def write(self, text: str) -> int:
        """Write what can be written."""
        try:
            self._stream.write(text)
        except UnicodeEncodeError:
            return self.write(text.encode("ascii", "backslashreplace").decode("ascii"))
        except (OSError, ValueError):
            silence(self._stream)
        return len(text)

    def flush(self) -> None:
        """Flush what can be flushed."""
        try:
            self._stream.flush()
        except (OSError, ValueError):
            silence(self._stream)

    def isatty(self) -> bool:
        """Return whether a person looks at it."""
        return is_terminal(self._stream)

    def fileno(self) -> int:
        """Return the descriptor, from which the width of a terminal is read."""
        return self._stream.fileno()
