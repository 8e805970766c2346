"""Collects the problems of one file: the first line of each kind, and how many more there are.

In: single findings with line numbers. Out: one ``Problem`` per kind, in order of occurrence.
Knows nothing about tasks or formats. Text from files is shown with its control characters escaped.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

from clue_runner.errors import Problem
from clue_runner.files.text import printable


@dataclass
class _Kind:
    """One kind of finding: its first occurrence and how often it was met."""

    problem: Problem
    count: int = 1


class Findings:
    """Findings about the file ``name``; ``fix`` is the default command to show; true if there are any."""

    def __init__(self, name: str, fix: str | None = None) -> None:
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
        where: str | None = None,
    ) -> None:
        """Note one finding; the same ``what`` again only raises its count.

        Args:
            what: the kind, the same words for all lines that have it.
            line: where in the file; None: the finding is about the whole file.
            received: what was found.
            allowed: what would be right.
            fix: a command or an instruction; None: the one given for the file.
            where: the place, if it is in another file.
        """
        known = self._kinds.get(what)
        if known:
            known.count += 1
            return
        place = where or (self.name if line is None else f"{self.name}:{line}")
        self._kinds[what] = _Kind(problem(what, place, received, allowed, fix or self.fix))

    def __bool__(self) -> bool:
        return bool(self._kinds)

    def problems(self) -> list[Problem]:
        """Return one problem per kind, with the number of occurrences where there is more than one."""
        return [_counted(kind) for kind in self._kinds.values()]


def problem(
    what: str,
    where: str | None = None,
    received: str | None = None,
    allowed: str | None = None,
    fix: str | None = None,
) -> Problem:
    """Return a ``Problem`` whose parts hold no control characters."""
    parts = (what, where, received, allowed, fix)
    return Problem(*(part and printable(part) for part in parts))  # type: ignore[arg-type]


def shorten(value: object, limit: int = 60) -> str:
    """Return ``repr(value)``, cut to ``limit`` characters; null, true and false as JSON spells them."""
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    text = repr(value[:limit] if isinstance(value, str | bytes) else value)
    cut = isinstance(value, str | bytes) and len(value) > limit
    return text if len(text) <= limit and not cut else f"{text[: limit - 3]}..."


def _counted(kind: _Kind) -> Problem:
    if kind.count == 1:
        return kind.problem
    return replace(kind.problem, what=f"{kind.problem.what} ({kind.count:,} lines, the first is shown)")
