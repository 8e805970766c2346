"""Rows as aligned lines of text, for a terminal and for files.

In: column names and rows of values. Out: lines; numbers stand to the right, Chinese counts two cells a
character. Knows nothing about streams or colours.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence


def table_lines(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    """Return the header and the rows as aligned lines."""
    cells = [list(columns)] + [[_cell(value) for value in row] for row in rows]
    widths = [max(_width(line[column]) for line in cells) for column in range(len(columns))]
    numeric = [
        bool(rows) and all(_is_number_or_none(row[column]) for row in rows) for column in range(len(columns))
    ]
    lines = []
    for line in cells:
        padded = [
            " " * (width - _width(text)) + text if right else text + " " * (width - _width(text))
            for text, width, right in zip(line, widths, numeric, strict=True)
        ]
        lines.append("  ".join(padded).rstrip())
    return lines


def _cell(value: object) -> str:
    """Return a table cell's text: thousands separated, a dash for None."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _width(text: str) -> int:
    """Return how many terminal cells ``text`` takes."""
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)


def _is_number_or_none(value: object) -> bool:
    """Return whether a cell may stand in a column that is aligned to the right."""
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))
