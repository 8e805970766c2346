"""The only place that prints: results, human text, warnings, events and progress.

In: text, events, tables, errors. Out: lines on stdout and stderr, in the form that the reader can use:
colour and a live line on a terminal, plain unwrapped lines elsewhere, JSON objects with ``--json``.
Knows nothing about tasks, runs or argv.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, TextIO

from clue_runner.console.progress import LiveProgress, PlainProgress, Progress, SilentProgress, live_line
from clue_runner.console.streams import is_terminal, leave_broken_pipe, put
from clue_runner.console.text import duration, file_size, json_line, table_lines, utc_now
from clue_runner.errors import ClueError

if TYPE_CHECKING:
    from rich.live import Live

__all__ = ["Console", "Progress", "duration", "file_size", "json_line", "leave_broken_pipe"]

EVENT_SCHEMA = 2  # version of the --json lines, as ``clue config schema --events`` describes them


class Console:
    """Prints for one command. A closed or broken stream is silently ignored.

    Args:
        json: events go to stdout, one object per line, and all human text to stderr.
        quiet: only warnings and errors are printed; events and results are not affected.
    """

    def __init__(self, json: bool = False, quiet: bool = False) -> None:
        self.json = json
        self.quiet = quiet
        self.beside: dict[str, object] = {}
        self.rows_on_stdout = False
        self._live: Live | None = None

    # Streams are looked up at each call: tests and click's runner replace them.
    def _human(self) -> TextIO | None:
        return sys.stderr if self.json or self.rows_on_stdout else sys.stdout

    def say(self, text: str = "") -> None:
        """Print human text, unless ``--quiet``."""
        if not self.quiet:
            self._write(text, self._human())

    def result(self, text: str) -> None:
        """Print what the command was asked for (a list, a YAML file), even with ``--quiet``."""
        self._write(text, self._human())

    def warn(self, text: str) -> None:
        """Print a warning to stderr; with ``--json`` also as an event."""
        self._write(f"{_paint('warning', '33', sys.stderr)}: {text}", sys.stderr)
        if self.json:
            self.event({"event": "warning", "schema": EVENT_SCHEMA, "message": text})

    def error(self, error: ClueError) -> None:
        """Print a user mistake to stderr; with ``--json`` also as an event."""
        self.failure(str(error), exit_code=error.exit_code)

    def failure(self, text: str, *, exit_code: int, event: bool = True) -> None:
        """Print the message that ends the command; an error here never hides the earlier one.

        Args:
            text: the message.
            exit_code: that of the process.
            event: with ``--json`` also as an event; False after a result, which is the last line.
        """
        with suppress(OSError, SystemExit):
            self._stop_live()
            self._write(f"{_paint('error', '1;31', sys.stderr)}: {text}", sys.stderr)
        if self.json and event:
            with suppress(OSError, SystemExit):
                self.event(
                    {
                        "event": "error",
                        "schema": EVENT_SCHEMA,
                        "ok": False,
                        "exit_code": exit_code,
                        "message": text,
                    }
                )

    def last_words(self, text: str) -> None:
        """Print a warning before the process is ended from outside: the bar is removed first."""
        self._stop_live()
        self.warn(text)

    def event(self, event: Mapping[str, object]) -> None:
        """Print an event, its time and what is ``beside`` all events as a JSON line; only with ``--json``."""
        if self.json:
            timed = event if event.get("time") else {**event, "time": utc_now()}
            put(json_line({**timed, **self.beside}) + "\n", sys.stdout)

    def rows(self, text: str) -> None:
        """Print lines for another program; ``rows_on_stdout`` sends all human text to stderr."""
        put(text, sys.stdout)

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """Print rows in aligned columns, numbers to the right; a Chinese character counts two cells."""
        head, *lines = table_lines(columns, rows)
        # One write, so that a reader of the first line alone (`| head -1`) does not break the pipe.
        self._write("\n".join([_paint(head, "1", self._human()), *lines]), self._human())

    @contextmanager
    def progress(self, total: int | None, label: str, done: int = 0) -> Iterator[Progress]:
        """Show the progress of a loop: a live line on a terminal, else a line about every 10 seconds.

        Args:
            total: units in all; None: unknown.
            label: what is being done.
            done: units finished before this process.
        """
        stream = self._human()
        if self.quiet:
            yield SilentProgress()
        elif stream is not None and _is_live_terminal(stream) and self._live is None:
            progress = LiveProgress(label, total, done)
            with live_line(progress, stream) as live:
                self._live = live
                try:
                    yield progress
                finally:
                    self._live = None
        else:
            yield PlainProgress(self.say, label, total, done)

    def _stop_live(self) -> None:
        """Remove the live line, so that nothing is appended to it."""
        live, self._live = self._live, None
        if live is not None:
            live.stop()

    def _write(self, text: str, stream: TextIO | None) -> None:
        """Print one line of human text, above the live line if there is one."""
        live = self._live
        if live is not None and is_terminal(stream):
            from rich.text import Text

            live.console.print(Text.from_ansi(text), soft_wrap=True)
        else:
            put(text + "\n", stream)


def _uses_colour(stream: TextIO | None) -> bool:
    """Return whether escape codes are wanted: a terminal, not a dumb one, without NO_COLOR or CI."""
    wanted = not os.environ.get("NO_COLOR") and not os.environ.get("CI") and os.environ.get("TERM") != "dumb"
    return wanted and is_terminal(stream)


def _is_live_terminal(stream: TextIO) -> bool:
    """Return whether a line can be redrawn there; NO_COLOR forbids colour, not movement."""
    return is_terminal(stream) and not os.environ.get("CI") and os.environ.get("TERM") != "dumb"


def _paint(text: str, code: str, stream: TextIO | None) -> str:
    """Return ``text`` in colour where the stream shows it."""
    return f"\x1b[{code}m{text}\x1b[0m" if _uses_colour(stream) else text
