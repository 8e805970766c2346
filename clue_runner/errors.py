"""User mistakes and stopped runs as one exception tree, each with its exit code.

In: what went wrong, where, what was received, what is allowed, what to do next.
Out: an exception whose ``str`` is the one message that the user sees.
Knows nothing about argv, files or tensors; anything that is not a ``ClueError`` is our bug.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """One finding: ``where`` is ``file:line``, a key or a path; ``fix`` is the command that corrects it."""

    what: str
    where: str | None = None
    received: str | None = None
    allowed: str | None = None
    fix: str | None = None

    def __str__(self) -> str:
        """Return the finding on one line, empty parts left out."""
        text = f"{self.where}: {self.what}" if self.where else self.what
        if self.received is not None:
            text += f", got {self.received}"
        if self.allowed is not None:
            text += f" (allowed: {self.allowed})"
        if self.fix is not None:
            text += f"; fix: {self.fix}"
        return text


class ClueError(Exception):
    """A failure that the user can act on; printed without a traceback.

    Args:
        what: the headline, one line, no full stop.
        problems: the individual findings under the headline; may be empty.
        next_step: what to do or to run next.
    """

    exit_code = 1

    def __init__(
        self,
        what: str,
        *,
        where: str | None = None,
        received: str | None = None,
        allowed: str | None = None,
        problems: Sequence[Problem] = (),
        next_step: str | None = None,
    ) -> None:
        """Store the parts; ``where``, ``received`` and ``allowed`` belong to the headline."""
        self.headline = Problem(what, where, received, allowed)
        self.problems = tuple(problems)
        self.next_step = next_step
        super().__init__(str(self))

    def __str__(self) -> str:
        """Return the whole message: headline, findings (20 at most), next step."""
        lines = [str(self.headline)]
        lines += [f"  {problem}" for problem in self.problems[:20]]
        if len(self.problems) > 20:
            lines.append(f"  ... and {len(self.problems) - 20} more")
        if self.next_step:
            lines.append(f"  next: {self.next_step}")
        return "\n".join(lines)


class UsageError(ClueError):
    """A command line or configuration that is invalid (exit 2)."""

    exit_code = 2


class RefusedSettingError(UsageError):
    """A setting that this kind of task or network cannot use, although others can (exit 2)."""


class DataError(ClueError):
    """Data that is missing, broken or not what the card says (exit 3)."""

    exit_code = 3


class CheckpointError(ClueError):
    """A checkpoint that cannot be loaded, or a run that cannot be resumed (exit 4)."""

    exit_code = 4


class RefusedFileError(ClueError):
    """A file refused because it carries code or an attack (exit 5)."""

    exit_code = 5


class NotFiniteError(ClueError):
    """A loss or gradient that is not a number (exit 6)."""

    exit_code = 6


class OutOfMemoryError(ClueError):
    """The device or the host ran out of memory (exit 7)."""

    exit_code = 7


class StorageError(ClueError):
    """A disk that is full, or a path that may not be written (exit 8)."""

    exit_code = 8


class BusyError(ClueError):
    """A run folder that another process is writing (exit 9)."""

    exit_code = 9


class ScoreTooLowError(ClueError):
    """A finished run whose score is under ``--fail-under`` (exit 10)."""

    exit_code = 10


class InterruptedRunError(ClueError):
    """A run stopped by a signal, its state saved (exit 130 for SIGINT, 143 for SIGTERM)."""

    def __init__(self, what: str, *, signal_number: int, next_step: str | None = None) -> None:
        """Take the exit code from ``signal_number`` as shells do: 128 + number."""
        super().__init__(what, next_step=next_step)
        self.exit_code = 128 + signal_number


def suggest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name closest to ``name``, or None where none is close."""
    close = difflib.get_close_matches(name.lower(), sorted(known), n=1, cutoff=0.6)
    return close[0] if close else None


def unknown_name(
    kind: str, name: str, known: Iterable[str], *, list_command: str, where: str | None = None
) -> UsageError:
    """Return the error for a name that is not in ``known``: suggestion first, then how to list all."""
    choices = sorted(known)
    guess = suggest(name, choices)
    hint = f"did you mean {guess}? " if guess else ""
    return UsageError(
        f"no {kind} called {name!r}",
        where=where,
        allowed=", ".join(choices),
        next_step=f"{hint}all {kind}s: {list_command}",
    )
