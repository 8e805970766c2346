"""Standard streams that nobody may be listening to.

In: text and a stream. Out: the text written, or silence if the stream is gone. If the reader of stdout
has gone, the process ends, as SIGPIPE would end it (``| head -1``); without stderr it continues.
Knows nothing about the content.
"""

from __future__ import annotations

import errno
import os
import sys
from typing import NoReturn, TextIO

BROKEN_PIPE_EXIT = 141  # 128 + SIGPIPE, as every filter exits when its reader has gone
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
    except ValueError:  # closed in the meantime
        return
    except OSError as error:
        is_output = stream is sys.stdout
        silence(stream)
        if is_output and error.errno == errno.EPIPE:
            leave_broken_pipe()
        if is_output and error.errno not in GONE:
            raise


def is_terminal(stream: TextIO | None) -> bool:
    """Return whether a person looks at the stream; nobody looks at a closed one."""
    try:
        return stream is not None and stream.isatty()
    except ValueError:
        return False


def silence(stream: TextIO | None) -> None:
    """Point a stream's descriptor at the null device, so that the last flush of its buffer cannot fail."""
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

    They stay open. The next file opened, a saved state for instance, would otherwise get the number, and
    whatever a library prints would be written into it.
    """
    for descriptor in range(STANDARD_DESCRIPTORS):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is this one


class SafeStream:
    """A stream for a library that writes on its own: what cannot be written is lost, nothing is raised."""

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
        """Return whether a person looks at the stream."""
        return is_terminal(self._stream)

    def fileno(self) -> int:
        """Return the descriptor, which gives the width of a terminal."""
        return self._stream.fileno()
