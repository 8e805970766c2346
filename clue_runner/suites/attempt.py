"""The one function that executes an item: all executors call it, wherever they run it.

In: ``Work``, plain text. Out: a run folder with a result, and a record of every attempt. The run is a
separate process, ``clue train``, so that a crash does not affect others; the same call again
continues. No item runs twice: the kernel keeps its claim, and the lock of its run folder outlives a
killed runner.
Knows nothing about suites, executors or tables.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from clue_runner.config.shipped import PACKAGE
from clue_runner.errors import BusyError, CheckpointError, ClueError
from clue_runner.files.atomic import disk_faults, make_folder
from clue_runner.files.lock import FolderLock
from clue_runner.suites.items import Work
from clue_runner.suites.records import Attempt, Held, ItemPlace, Record, held, one_line

# Failures that a retry can fix: memory used by others, a disk, a signal from outside. Never 2 to 6: the
# same settings, data and weights fail in the same way again.
HEALS = frozenset({7, 8, 130, 143})
BUSY = 9  # another process works on it: waited for, not counted
TRIES = 3
POLL, PAUSE = 0.1, 2.0  # seconds
_RUNNING: set[subprocess.Popen[bytes]] = set()  # of this process, for a signal handler that has no other way
TAIL = 8192  # bytes of a log that are searched for the message that ended the process


def heals(exit_code: int) -> bool:
    """Return whether another try may end better; a negative code is a signal's."""
    return exit_code < 0 or exit_code in HEALS


def attempt(work: Work, *, stopped: Callable[[], bool] = lambda: False, tries: int = TRIES) -> int:
    """Execute one item unless it has a result; return 0, or the exit code of the last try.

    Args:
        work: the item.
        stopped: polled continuously; True saves the run's state and returns.
        tries: maximum number of processes; waiting for another worker does not count.
    """
    place = ItemPlace(work.place)
    try:
        return _attempt(work, place, stopped, tries)
    except ClueError as error:  # the item's own folder, or its record: this must not stop other items either
        now = datetime.now(UTC).isoformat(timespec="seconds")
        failed = Attempt(
            host=socket.gethostname(), started=now, exit_code=error.exit_code, reason=one_line(str(error))
        )
        with suppress(ClueError):
            place.write(Record(id=work.id, words=work.words, command=[], attempts=[failed]))
        return error.exit_code


def _attempt(work: Work, place: ItemPlace, stopped: Callable[[], bool], tries: int) -> int:
    """Execute one item; what its folders refuse is raised."""
    claim = _claim(place, work, stopped)
    if claim is None:
        return 0 if _has_result(work) else 128 + signal.SIGTERM
    with claim:
        count = 0
        while True:
            if _has_result(work):
                return 0
            code = _try_once(work, place, stopped)
            if code == BUSY:
                if _pause(stopped):
                    return 128 + signal.SIGTERM
                continue
            count += 1
            if code == 0 or not heals(code) or count >= tries or _pause(stopped):
                return code


def _held(work: Work) -> Held:
    """Return what the run's folder holds."""
    return held(Path(work.folder), work.id, work.code)


def _has_result(work: Work) -> bool:
    """Return whether the item has its result."""
    result = _held(work).result
    return result is not None and result.ok


def _claim(place: ItemPlace, work: Work, stopped: Callable[[], bool]) -> FolderLock | None:
    """Return the held claim of an item; None where another worker did it, or a stop was asked for."""
    while True:
        try:
            return FolderLock(place.path).acquire()
        except BusyError:
            if _pause(stopped) or _has_result(work):
                return None


def _pause(stopped: Callable[[], bool]) -> bool:
    """Wait before another try; return whether a stop was asked for."""
    until = time.monotonic() + PAUSE
    while time.monotonic() < until:
        if stopped():
            return True
        time.sleep(POLL)
    return stopped()


def _try_once(work: Work, place: ItemPlace, stopped: Callable[[], bool]) -> int:
    """Start one process, wait for it, and record how it went."""
    command = [
        *("-P", "-m", "clue_runner.suites.child", str(os.getpid())),
        *("train", *work.arguments, "--output", work.folder),
    ]
    if _held(work).other is not None:  # it is moved aside, not lost
        command.append("--fresh")
    earlier = place.record()
    began, started = time.monotonic(), datetime.now(UTC).isoformat(timespec="seconds")
    attempts = list(earlier.attempts) if earlier else []
    shown = ["clue", *command[4:]]
    make_folder(place.path)
    with disk_faults(place.log), place.log.open("ab") as log:
        start = log.tell()
        process = _start(command, work, log)
        _RUNNING.add(process)
        now = Attempt(host=socket.gethostname(), pid=process.pid, started=started)
        try:
            place.write(Record(id=work.id, words=work.words, command=shown, attempts=[*attempts, now]))
            code = _wait(process, stopped)
        finally:
            _end(process)
            _RUNNING.discard(process)
    reason = None if code == 0 else _reason(place.log, start, code)
    if code == 0 and (other := _held(work).other) is not None:
        code, reason = CheckpointError.exit_code, other
    seconds = round(time.monotonic() - began, 3)
    ended = now.model_copy(update={"exit_code": code, "seconds": seconds, "reason": reason})
    if code != BUSY:  # nothing was tried
        attempts.append(ended)
    place.write(Record(id=work.id, words=work.words, command=shown, attempts=attempts))
    return code


def _start(command: list[str], work: Work, log: IO[bytes]) -> subprocess.Popen[bytes]:
    """Start the run's process, out of reach of the terminal's Ctrl-C: the runner passes on one signal.

    It is this program, whatever the current folder contains: the item's hash refers to it.
    """
    path = os.pathsep.join(filter(None, (str(PACKAGE.parent), os.environ.get("PYTHONPATH"))))
    return subprocess.Popen(
        [sys.executable, *command],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        env={**os.environ, **work.environment, "PYTHONPATH": path},
        start_new_session=True,
    )


def _wait(process: subprocess.Popen[bytes], stopped: Callable[[], bool]) -> int:
    """Return the exit code; a stop sends SIGTERM once, and waits until the state is saved."""
    asked = False
    while True:
        with suppress(subprocess.TimeoutExpired):
            return process.wait(POLL)
        if not asked and stopped():
            process.send_signal(signal.SIGTERM)
            asked = True


def _end(process: subprocess.Popen[bytes]) -> None:
    """Leave no process behind, whatever happened here."""
    if process.poll() is None:
        process.terminate()
        process.wait()


def end_processes(seconds: float) -> None:
    """Let every run that this process has started save its state, and wait for that.

    Args:
        seconds: how long at most; this may be called within the very call that waits for them.
    """
    running = list(_RUNNING)
    for process in running:
        process.send_signal(signal.SIGTERM)
    until = time.monotonic() + seconds
    while time.monotonic() < until and any(process.poll() is None for process in running):
        time.sleep(POLL)


def _reason(log: Path, start: int, code: int) -> str:
    """Return the message that ended a process, on one line."""
    if code < 0:
        name = signal.Signals(-code).name if -code in {one.value for one in signal.Signals} else str(-code)
        hint = ": the system's out-of-memory killer does that" if -code == signal.SIGKILL else ""
        return f"killed by {name}{hint}"
    with suppress(OSError), log.open("rb") as file:
        file.seek(0, os.SEEK_END)
        file.seek(max(start, file.tell() - TAIL))
        text = file.read().decode("utf-8", "replace")
        if (found := text.rfind("error: ")) >= 0:
            return one_line(text[found + len("error: ") :])
    return f"exit code {code}"
