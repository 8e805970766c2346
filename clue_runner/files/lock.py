"""One writer per run folder: a lock file that names its holder and is freed when the holder ends.

In: a folder. Out: a held lock, or ``BusyError``. The kernel keeps the lock (flock), so that a killed
holder frees it at once and a copied folder carries none. Knows nothing about what is written.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType

from clue_runner.errors import BusyError, UsageError
from clue_runner.files.atomic import disk_faults, make_folder, storage_error

_OURS = b'{"pid": '  # how the content of our lock files begins; a kill leaves it, or a part of it
_ATTEMPTS = 50  # a holder removes the file when it ends; a process waiting at the old file starts over


class FolderLock:
    """Holds ``folder/lock`` from ``acquire`` to ``release``; also a context manager."""

    def __init__(self, folder: Path) -> None:
        """Name the lock; nothing is taken yet."""
        self.path = folder / "lock"
        self._descriptor: int | None = None

    def acquire(self) -> FolderLock:
        """Create the folder if it does not exist, and take its lock or fail at once.

        Raises:
            BusyError: another process holds it.
            UsageError: a file with that name belongs to somebody else.
            StorageError: the folder or the lock file cannot be written.
        """
        for _ in range(_ATTEMPTS):
            descriptor = self._open()
            if descriptor is None:
                continue
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                os.close(descriptor)
                if error.errno in {errno.EWOULDBLOCK, errno.EACCES}:
                    raise self._busy() from None
                raise storage_error(error, self.path) from error
            if self._still_there(descriptor):
                self._sign(descriptor)
                self._descriptor = descriptor
                return self
            os.close(descriptor)
            time.sleep(0.01)
        raise self._busy()

    def release(self) -> None:
        """Remove the lock file and release the lock; harmless when nothing is held."""
        if self._descriptor is None:
            return
        with suppress(OSError):
            if self._still_there(self._descriptor):
                self.path.unlink()
        os.close(self._descriptor)
        self._descriptor = None

    def __enter__(self) -> FolderLock:
        """Take the lock unless it is already held."""
        return self if self._descriptor is not None else self.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Release the lock."""
        self.release()

    def _open(self) -> int | None:
        """Open the lock file; None where the folder was moved away before that (``--fresh``)."""
        make_folder(self.path.parent)
        try:
            # A link would let an untrusted folder truncate any of the user's files.
            return os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        except FileNotFoundError:
            time.sleep(0.01)
            return None
        except OSError as error:
            raise storage_error(error, self.path) from error

    def _sign(self, descriptor: int) -> None:
        """Write who holds the lock into its file; a file written by somebody else is left alone."""
        try:
            with disk_faults(self.path):
                content = os.pread(descriptor, len(_OURS), 0)
                if not _OURS.startswith(content):
                    raise UsageError(
                        "a file called lock is in the folder but does not belong to this program",
                        where=str(self.path),
                        next_step="use another folder with --output, or rename that file",
                    )
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, _holder(), 0)
        except BaseException:
            os.close(descriptor)
            raise

    def _still_there(self, descriptor: int) -> bool:
        """Return whether the path still leads to the file that was locked."""
        try:
            there = self.path.stat()
        except OSError:
            return False
        here = os.fstat(descriptor)
        return (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino)

    def _busy(self) -> BusyError:
        """Return the error that names the holder."""
        try:
            holder = json.loads(self.path.read_text(encoding="utf-8"))
            who = f"process {holder['pid']} on {holder['host']}, since {holder['started']}"
        except (OSError, ValueError, KeyError, TypeError):
            who = "another process"
        return BusyError(
            f"the run folder is being written by {who}",
            where=str(self.path.parent),
            next_step="wait for it, stop it, or use another folder with --output",
        )


def _holder() -> bytes:
    """Return who holds the lock, as one JSON line."""
    started = datetime.now(UTC).isoformat(timespec="seconds")
    return (
        json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "started": started}) + "\n"
    ).encode()
