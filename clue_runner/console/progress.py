"""The progress of a long loop: a line that is redrawn on a terminal, else a line now and then.

In: counts, and values to show beside them. Out: lines. Knows nothing about what is counted.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol, TextIO, cast

from clue_runner.console.streams import SafeStream
from clue_runner.console.text import GAP, bar_line, count_text, display_width, duration, shown_fields

if TYPE_CHECKING:
    from rich.console import Console as RichConsole
    from rich.console import ConsoleOptions
    from rich.live import Live
    from rich.text import Text

PLAIN_PROGRESS_SECONDS = 10.0
REDRAWN_PER_SECOND = 4


class Progress(Protocol):
    """What a long loop reports to."""

    def begin(self, label: str, total: int | None, done: int = 0) -> None:
        """Start another part of the work; ``done``: units finished before this process."""

    def update(self, done: int, *, left: float | None = None, **shown: object) -> None:
        """Report progress.

        Args:
            done: units finished.
            left: seconds until all is done, if the caller knows better than the bar.
            shown: values to show beside it, the most important first.
        """


class SilentProgress:
    """Progress of a quiet command."""

    def begin(self, label: str, total: int | None, done: int = 0) -> None:
        """Print nothing."""

    def update(self, done: int, *, left: float | None = None, **shown: object) -> None:
        """Print nothing."""


class _Counted:
    """A count, its clock and what is shown beside it."""

    def __init__(self, label: str, total: int | None, done: int) -> None:
        self.begin(label, total, done)

    def begin(self, label: str, total: int | None, done: int = 0) -> None:
        """Start another part of the work."""
        self._label, self._total, self._done = label, total, done
        self._first, self._start = done, time.monotonic()
        self._left: float | None = None
        self._fields: list[str] = []

    def update(self, done: int, *, left: float | None = None, **shown: object) -> None:
        """Take in the progress."""
        self._done, self._fields = done, shown_fields(shown)
        self._left = self._estimate() if left is None else left

    def _estimate(self) -> float | None:
        """Return the seconds left at the mean rate of this process; None where that is unknown."""
        spent, done = time.monotonic() - self._start, self._done - self._first
        if self._total is None or done <= 0 or spent <= 0:
            return None
        return max(self._total - self._done, 0) * spent / done


class LiveProgress(_Counted):
    """Progress as a line that is redrawn in place."""

    def __init__(self, label: str, total: int | None, done: int) -> None:
        self._widths: list[int] = []
        super().__init__(label, total, done)

    def begin(self, label: str, total: int | None, done: int = 0) -> None:
        """Start another part of the work, which has other values."""
        self._widths = []
        super().begin(label, total, done)

    def __rich_console__(self, console: RichConsole, options: ConsoleOptions) -> Iterator[Text]:
        """Draw the line in the terminal's current width."""
        from rich.text import Text

        yield Text(self.line(options.max_width), no_wrap=True, overflow="crop", end="")

    def line(self, width: int) -> str:
        """Return the line; a field never becomes narrower again."""
        fields = self._fields
        known = [*self._widths, *[0] * (len(fields) - len(self._widths))]
        self._widths = [
            max(old, display_width(text)) for old, text in zip(known, fields, strict=False)
        ] or self._widths
        padded = [
            text + " " * (wide - display_width(text))
            for text, wide in zip(fields, self._widths, strict=False)
        ]
        return bar_line(width, self._label, self._done, self._total, self._left, padded)


class PlainProgress(_Counted):
    """Progress as lines, at most one in ``PLAIN_PROGRESS_SECONDS``."""

    def __init__(self, say: Callable[[str], None], label: str, total: int | None, done: int) -> None:
        self._say = say
        self._last_line = time.monotonic()
        super().__init__(label, total, done)

    def update(self, done: int, *, left: float | None = None, **shown: object) -> None:
        """Print a line if the last one is old enough."""
        super().update(done, left=left, **shown)
        now = time.monotonic()
        if now - self._last_line < PLAIN_PROGRESS_SECONDS:
            return
        self._last_line = now
        parts = [self._label, count_text(self._done, self._total).strip(), *self._fields]
        if self._left is not None:
            parts.append(f"{duration(self._left)} left")
        self._say(GAP.join(parts))


@contextmanager
def live_line(progress: LiveProgress, stream: TextIO) -> Iterator[Live]:
    """Keep a line up to date at the bottom of a terminal; it is gone when the block ends."""
    from rich.console import Console as RichConsole
    from rich.live import Live

    terminal = RichConsole(file=cast(Any, SafeStream(stream)), highlight=False, markup=False)
    with Live(
        cast(Any, progress),
        console=terminal,
        # rich would otherwise send JSON events on stdout to the bar's stream
        redirect_stdout=False,
        redirect_stderr=False,
        transient=True,
        refresh_per_second=REDRAWN_PER_SECOND,
    ) as live:
        yield live
