"""The only place that prints: results, human text, warnings, events and progress.

In: text, events, tables, errors. Out: lines on stdout and stderr, in the form that the reader can use:
colour and a live bar on a terminal, plain unwrapped lines elsewhere, one JSON object a line with ``--json``.
Knows nothing about tasks, runs or argv.
"""

from __future__ import annotations

import json as json_module
import math
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import PurePath
from typing import TYPE_CHECKING, NoReturn, Protocol, TextIO

from clue_runner.errors import ClueError
from clue_runner.text_table import table_lines

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

PLAIN_PROGRESS_SECONDS = 10.0
BROKEN_PIPE_EXIT = 141  # 128 + SIGPIPE, what every filter gives when its reader has gone


class Progress(Protocol):
    """What a long loop reports to."""

    def update(self, done: int, **shown: object) -> None:
        """Say that ``done`` units are finished; ``shown`` are values to stand beside the bar."""


class Console:
    """Prints for one command.

    Args:
        json: events go to stdout, one object a line, and all human text to stderr.
        quiet: only warnings and errors are said; events and results are not affected.
    """

    def __init__(self, json: bool = False, quiet: bool = False) -> None:
        self.json = json
        self.quiet = quiet
        self._live: RichProgress | None = None

    # Streams are looked up at each call: tests and click's runner replace them.
    def _human(self) -> TextIO:
        return sys.stderr if self.json else sys.stdout

    def say(self, text: str = "") -> None:
        """Print human text; nothing with ``--quiet``."""
        if not self.quiet:
            self._write(text, self._human())

    def result(self, text: str) -> None:
        """Print what the command was asked for (a list, a YAML file): also with ``--quiet``."""
        self._write(text, self._human())

    def warn(self, text: str) -> None:
        """Print a warning to stderr; with ``--json`` also as an event."""
        self._write(f"{_paint('warning', '33', sys.stderr)}: {text}", sys.stderr)
        if self.json:
            self.event({"event": "warning", "message": text})

    def error(self, error: ClueError) -> None:
        """Print a user mistake to stderr; with ``--json`` also as an event."""
        self.failure(str(error), exit_code=error.exit_code)

    def failure(self, text: str, *, exit_code: int) -> None:
        """Print the message that ends the command; with ``--json`` also as an event."""
        self._write(f"{_paint('error', '1;31', sys.stderr)}: {text}", sys.stderr)
        if self.json:
            self.event({"event": "error", "ok": False, "exit_code": exit_code, "message": text})

    def event(self, event: Mapping[str, object]) -> None:
        """Print one event as a JSON line on stdout; nothing without ``--json``."""
        if self.json:
            self._put(json_line(event) + "\n", sys.stdout)

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """Print rows in aligned columns, numbers to the right; Chinese counts two cells a character."""
        head, *lines = table_lines(columns, rows)
        # One write: a reader that wants the first line only (`| head -1`) breaks no pipe.
        self._write("\n".join([_paint(head, "1", self._human()), *lines]), self._human())

    @contextmanager
    def progress(self, total: int | None, label: str) -> Iterator[Progress]:
        """Show how far a loop is: a live bar on a terminal, else a line about every 10 seconds."""
        if self.quiet:
            yield _SilentProgress()
        elif _is_live_terminal(self._human()) and self._live is None:
            with self._rich_progress(total, label) as live:
                yield live
        else:
            yield _PlainProgress(self, total, label)

    @contextmanager
    def _rich_progress(self, total: int | None, label: str) -> Iterator[Progress]:
        """Run a rich bar; our own lines are printed above it through the same rich console."""
        from rich.console import Console as RichConsole
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress

        bar = RichProgress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TextColumn("{task.fields[shown]}"),
            TextColumn("eta"),
            TimeRemainingColumn(),
            console=RichConsole(file=self._human(), highlight=False, markup=False),
            # rich would otherwise send JSON events on stdout to the bar's stream
            redirect_stdout=False,
            redirect_stderr=False,
            transient=True,
            refresh_per_second=4,
        )
        with bar:
            self._live = bar
            try:
                yield _LiveProgress(bar, bar.add_task(label, total=total, shown=""))
            finally:
                self._live = None

    def _write(self, text: str, stream: TextIO) -> None:
        """Print one line of human text, above the bar if one is live."""
        if self._live is not None and stream.isatty():
            from rich.text import Text

            self._live.console.print(Text.from_ansi(text), soft_wrap=True)
        else:
            self._put(text + "\n", stream)

    def _put(self, text: str, stream: TextIO) -> None:
        """Write and flush, ending the process quietly where the reader has gone (``| head -1``)."""
        try:
            stream.write(text)
            stream.flush()
        except BrokenPipeError:
            leave_broken_pipe()


def leave_broken_pipe() -> NoReturn:
    """End the process as SIGPIPE would, without Python's complaint at its last flush."""
    null = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        try:
            os.dup2(null, stream.fileno())
        except (OSError, ValueError):  # a replaced stream without a descriptor has nothing to flush
            continue
    raise SystemExit(BROKEN_PIPE_EXIT)


class _SilentProgress:
    """Progress of a quiet command."""

    def update(self, done: int, **shown: object) -> None:
        """Say nothing."""


class _LiveProgress:
    """Progress as a rich bar."""

    def __init__(self, bar: RichProgress, task: TaskID) -> None:
        self._bar = bar
        self._task = task

    def update(self, done: int, **shown: object) -> None:
        """Move the bar."""
        self._bar.update(self._task, completed=done, shown=_shown_text(shown))


class _PlainProgress:
    """Progress as lines, at most one in ``PLAIN_PROGRESS_SECONDS``."""

    def __init__(self, console: Console, total: int | None, label: str) -> None:
        self._console = console
        self._total = total
        self._label = label
        self._start = time.monotonic()
        self._first: int | None = None
        self._last_line = self._start

    def update(self, done: int, **shown: object) -> None:
        """Print a line where the last one is old enough."""
        now = time.monotonic()
        if self._first is None:
            # A resumed loop starts in the middle: its rate counts from here.
            self._first, self._start = done, now
        if now - self._last_line < PLAIN_PROGRESS_SECONDS:
            return
        self._last_line = now
        parts = [self._label, f"{done:,}/{self._total:,}" if self._total else f"{done:,}", _shown_text(shown)]
        speed = (done - self._first) / (now - self._start) if now > self._start else 0.0
        if self._total and speed > 0:
            parts.append(f"eta {duration(max(self._total - done, 0) / speed)}")
        self._console.say("  ".join(part for part in parts if part))


def duration(seconds: float) -> str:
    """Return seconds as people say them: ``48 s``, ``3 min 05 s``, ``5 h 50 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def file_size(size: float) -> str:
    """Return bytes in the unit that needs few digits, powers of 1,000."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def json_line(value: object) -> str:
    """Return compact JSON on one line; NaN and infinity, which JSON does not have, become null."""
    return json_module.dumps(_plain(value), ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def _plain(value: object) -> object:
    """Return ``value`` in types that JSON has; numpy scalars by their ``item``."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, PurePath):
        return str(value)
    item = getattr(value, "item", None)
    if callable(item):
        return _plain(item())
    raise TypeError(f"an event cannot hold a {type(value).__name__}")


def _shown_text(shown: Mapping[str, object]) -> str:
    """Return ``loss 0.5512  rate 1e-05`` from the values beside a bar."""
    return "  ".join(
        f"{key.replace('_', ' ')} {f'{value:.4g}' if isinstance(value, float) else value}"
        for key, value in shown.items()
        if value is not None
    )


def _uses_colour(stream: TextIO) -> bool:
    """Return whether escape codes are wanted: a terminal, no NO_COLOR, no CI, not a dumb one."""
    wanted = not os.environ.get("NO_COLOR") and not os.environ.get("CI") and os.environ.get("TERM") != "dumb"
    return wanted and stream.isatty()


def _is_live_terminal(stream: TextIO) -> bool:
    """Return whether a bar can be redrawn there; NO_COLOR forbids colour, not movement."""
    return stream.isatty() and not os.environ.get("CI") and os.environ.get("TERM") != "dumb"


def _paint(text: str, code: str, stream: TextIO) -> str:
    """Return ``text`` in colour where the stream shows it."""
    return f"\x1b[{code}m{text}\x1b[0m" if _uses_colour(stream) else text
