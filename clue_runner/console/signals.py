"""Ctrl-C and SIGTERM: the first asks for a stop at the next safe point, the second ends the process.

In: signals. Out: ``requested``, which the loop checks between steps and batches.
A signal is obeyed first and reported second, by a separate thread: a stream that nobody reads, or that
is full, holds nothing up. Python runs signal handlers only between its own instructions, and a compilation
can delay them for a minute; so a thread reads the signals from a pipe that the interpreter fills
at once.
Knows nothing about what is being stopped.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from types import FrameType, TracebackType

from clue_runner.errors import InterruptedRunError

WATCHED = (signal.SIGINT, signal.SIGTERM)
SPEAKING_SECONDS = 1.0  # time limit of the last message
AFTER_TRAINING = "after training; nothing is lost"
GO_ON = "run the same command again to continue"


class Signals:
    """Watches SIGINT and SIGTERM while entered; restores the old handlers on exit.

    Outside the main thread nothing is installed and nothing is ever requested.

    A signal that the parent process told this one to ignore (``nohup``) stays ignored.

    Args:
        say: tells the user something, from another thread.
        leave: ends the process with an exit code; tests replace it.
        last_words: tells the user why the process ends at once; None: ``say`` does.
    """

    def __init__(
        self,
        say: Callable[[str], None],
        leave: Callable[[int], None] = os._exit,
        last_words: Callable[[str], None] | None = None,
    ) -> None:
        """Start in the state where a signal ends the process at once: there is nothing to save yet."""
        self.requested: int | None = None
        self._say = say
        self._last_words = last_words or say
        self._leave = leave
        self._deferred = False
        self._old: dict[int, object] = {}
        self._thread: threading.Thread | None = None

    def defer(self) -> None:
        """From now on the first signal only sets ``requested``: the loop has something to save."""
        self._deferred = True

    def check(self, where: str = AFTER_TRAINING, next_step: str = GO_ON) -> None:
        """Raise if a stop was requested.

        Args:
            where: the progress of the run, for the message.
            next_step: how to continue.

        Raises:
            InterruptedRunError: with the exit code of the signal.
        """
        if self.requested is not None:
            raise InterruptedRunError(
                f"stopped by {signal.Signals(self.requested).name} {where}",
                signal_number=self.requested,
                next_step=next_step,
            )

    def take(self, number: int) -> None:
        """Handle one arrived signal; runs in the watching thread."""
        if self.requested is not None or not self._deferred:
            text = "stopped at once" if self.requested is not None else "stopped before anything was trained"
            try:
                _speak(self._last_words, text, wait=SPEAKING_SECONDS)
            finally:
                self._leave(128 + number)
            return
        self.requested = number
        _speak(
            self._say,
            "stopping at the next safe point and saving; a second signal ends at once without saving",
            wait=0.0,
        )

    def __enter__(self) -> Signals:
        """Install handlers and start the watching thread."""
        if threading.current_thread() is not threading.main_thread():
            return self
        self._receiver, self._sender = socket.socketpair()
        self._sender.setblocking(False)
        self._old_descriptor = signal.set_wakeup_fd(self._sender.fileno(), warn_on_full_buffer=False)
        for number in WATCHED:
            if signal.getsignal(number) != signal.SIG_IGN:
                self._old[number] = signal.signal(number, _only_wake)
        self._thread = threading.Thread(target=self._watch, name="signals", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Restore the old handlers and end the thread."""
        if self._thread is None:
            return
        for number, handler in self._old.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        signal.set_wakeup_fd(self._old_descriptor)
        self._sender.close()
        self._thread.join()
        self._receiver.close()
        self._thread = None

    def _watch(self) -> None:
        """Read signal numbers until the sender is closed."""
        while received := self._receiver.recv(1):
            if received[0] in WATCHED:
                self.take(received[0])


def _speak(say: Callable[[str], None], text: str, *, wait: float) -> None:
    """Say something if anybody listens, for ``wait`` seconds at most; nothing is raised."""

    def try_to_say() -> None:
        with suppress(BaseException):  # a closed stream ends that thread, not this process
            say(text)

    try:
        speaker = threading.Thread(target=try_to_say, name="last words", daemon=True)
        speaker.start()
    except RuntimeError:  # no thread available
        return
    speaker.join(wait)


def _only_wake(number: int, frame: FrameType | None) -> None:
    """Do nothing: the interpreter has already written the number to the pipe."""
