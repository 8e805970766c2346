"""How long a row may be: the longest one that a model's positions cover.

In: settings. Out: problems that name the option for longer rows. Knows nothing about data or tensors.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from clue_runner.config.pairs import pair_problem
from clue_runner.config.schema import position_limit
from clue_runner.errors import Problem

POSITIONS, TABLE, LENGTH = "model.positions", "model.max_positions", "data.max_length"
LEARNED, STRETCHED = "learned", "hierarchical"
TOO_LONG = "rows are longer than the position table"


class StretchableShape(Protocol):
    """A shape with a table of positions that hierarchical positions can stretch."""

    @property
    def positions(self) -> str:
        """Return ``learned`` or ``hierarchical``."""

    @property
    def max_positions(self) -> int:
        """Return the number of rows in the table."""

    @property
    def position_limit(self) -> int:
        """Return the length of the longest row that the positions cover."""


def length_problems(values: Mapping[str, Any], origins: Mapping[str, str]) -> Iterator[Problem]:
    """Yield the problems with ``data.max_length`` and the position table that must cover it."""
    positions, table, length = values[POSITIONS], values[TABLE], values[LENGTH]
    if length > position_limit(positions, table):
        yield pair_problem(
            TOO_LONG if positions == LEARNED else f"{TOO_LONG} can be stretched",
            LENGTH,
            TABLE,
            values,
            origins,
            allowed=f"up to {position_limit(positions, table):,}",
            fix=_stretch(positions, table, f"--set {POSITIONS}={STRETCHED}"),
        )


def row_too_long(shape: StretchableShape, where: str, length: int) -> Problem:
    """Return the problem of a row that a loaded encoder's positions do not cover."""
    fix = _stretch(shape.positions, shape.max_positions, f'load_backbone(path, positions="{STRETCHED}")')
    return Problem(TOO_LONG, where, str(length), f"up to {shape.position_limit:,}", fix)


def _stretch(positions: str, table: int, option: str) -> str | None:
    """Return the option that covers longer rows, and its limit."""
    return f"{option} reads up to {table**2:,}" if positions == LEARNED else None
