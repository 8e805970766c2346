"""Collects what is wrong with one file: the first line of each kind, and how many more there are.

In: single findings with line numbers. Out: one ``Problem`` a kind, in the order they were met.
Knows nothing about tasks or formats.
"""

from __future__ import annotations

from dataclasses import dataclass

from clue_runner.errors import Problem


@dataclass
class _Kind:
    """One kind of finding: its first occurrence and how often it was met."""

    problem: Problem
    count: int = 1


class Findings:
    """Findings about the file ``name``; ``fix`` is the command shown where none is given."""

    def __init__(self, name: str, fix: str | None = None) -> None:
        """Start with nothing found."""
        self.name = name
        self.fix = fix
        self._kinds: dict[str, _Kind] = {}

    def add(
        self,
        what: str,
        line: int | None = None,
        *,
        received: str | None = None,
        allowed: str | None = None,
        fix: str | None = None,
    ) -> None:
        """Note one finding; the same ``what`` again only raises its count."""
        known = self._kinds.get(what)
        if known:
            known.count += 1
            return
        where = self.name if line is None else f"{self.name}:{line}"
        self._kinds[what] = _Kind(Problem(what, where, received, allowed, fix or self.fix))

    def __bool__(self) -> bool:
        """Return whether anything was found."""
        return bool(self._kinds)

    def problems(self) -> list[Problem]:
        """Return one problem a kind, with the number of lines where there is more than one."""
        return [_counted(kind) for kind in self._kinds.values()]


def _counted(kind: _Kind) -> Problem:
    """Return the problem with its count in the text."""
    first = kind.problem
    if kind.count == 1:
        return first
    what = f"{first.what} ({kind.count:,} lines, the first is shown)"
    return Problem(what, first.where, first.received, first.allowed, first.fix)


def shorten(value: object, limit: int = 60) -> str:
    """Return ``repr(value)``, cut to ``limit`` characters."""
    text = repr(value)
    return text if len(text) <= limit else text[: limit - 3] + "..."
