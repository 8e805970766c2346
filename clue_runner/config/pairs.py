"""Words a finding about two settings that contradict each other.

In: the two keys, their values and where each came from. Out: a ``Problem``. Knows no rule about settings.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from clue_runner.errors import Problem


def pair_problem(
    what: str,
    first: str,
    second: str,
    values: Mapping[str, Any],
    origins: Mapping[str, str],
    *,
    allowed: str | None = None,
    fix: str | None = None,
) -> Problem:
    """Return the finding, with the place where each of the two keys was set.

    Args:
        what: the rule that is broken.
        first: a dotted key.
        second: the key that it contradicts.
        values: by key.
        origins: by key, such as ``--set`` or ``FILE:LINE``.
        allowed: as in ``Problem``, for the first key.
        fix: as in ``Problem``.
    """
    where = f"{first} ({origins[first]}), {second} ({origins[second]})"
    return Problem(what, where, f"{values[first]} and {values[second]}", allowed, fix)
