"""How long a row may be: what a model's positions reach.

In: settings. Out: problems that say what would reach further. Knows nothing about data or tensors.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from clue_runner.config.pairs import pair_problem
from clue_runner.config.schema import ModelSettings, position_limit
from clue_runner.errors import Problem

POSITIONS, TABLE, FAMILY, LENGTH = (
    "model.positions",
    "model.max_positions",
    "model.family",
    "data.max_length",
)
LEARNED, STRETCHED = "learned", "hierarchical"
TOO_LONG = "rows are longer than the position table"


def length_problems(values: Mapping[str, Any], origins: Mapping[str, str]) -> Iterator[Problem]:
    """Yield what is wrong with ``data.max_length`` and the positions that shall hold it."""
    positions, table, length = values[POSITIONS], values[TABLE], values[LENGTH]
    has_table = values[FAMILY] == "bert"
    if positions == STRETCHED and not has_table:
        what = "this family of models has no table of positions to stretch"
        yield pair_problem(what, POSITIONS, FAMILY, values, origins, allowed=LEARNED)
    elif length > position_limit(positions, table):
        yield pair_problem(
            TOO_LONG if positions == LEARNED else f"{TOO_LONG} can be stretched",
            LENGTH,
            TABLE,
            values,
            origins,
            allowed=f"up to {position_limit(positions, table):,}",
            fix=_stretch(positions, table, f"--set {POSITIONS}={STRETCHED}") if has_table else None,
        )


def row_too_long(model: ModelSettings, where: str, length: int) -> Problem:
    """Return the problem of a row that a loaded encoder's positions do not reach."""
    fix = _stretch(model.positions, model.max_positions, f'load_backbone(path, positions="{STRETCHED}")')
    return Problem(TOO_LONG, where, str(length), f"up to {model.position_limit:,}", fix)


def _stretch(positions: str, table: int, option: str) -> str | None:
    """Return the option that reaches further, and how far."""
    return f"{option} reads up to {table**2:,}" if positions == LEARNED else None
