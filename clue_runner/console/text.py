"""Values as text: durations, sizes, tables, JSON lines, and the one line of a progress bar.

In: plain values and a width in terminal cells. Out: text. Knows nothing about streams.
"""

from __future__ import annotations

import json as json_module
import math
import unicodedata
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import PurePath

LONGEST_BAR, SHORTEST_BAR = 30, 6
TIME_WIDTH = len("59 min 59 s")
GAP = "  "


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
    """Return ``value`` as JSON types; numpy scalars by their ``item``."""
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


def shown_fields(shown: Mapping[str, object]) -> list[str]:
    """Return ``loss 0.5512`` for each value beside a bar that is not None; equal numbers of decimals."""
    return [
        f"{key.replace('_', ' ')} {f'{value:.4f}' if isinstance(value, float) else value}"
        for key, value in shown.items()
        if value is not None
    ]


def count_text(done: int, total: int | None) -> str:
    """Return ``   12/1,073``, always of the same width."""
    return f"{done:,}" if total is None else f"{done:>{len(f'{total:,}')},}/{total:,}"


def bar_line(
    width: int, label: str, done: int, total: int | None, left: float | None, fields: Sequence[str]
) -> str:
    """Return one line of at most ``width`` cells: always the count and the time left, the rest if it fits.

    Args:
        width: that of the terminal.
        label: what is being done.
        done: units done.
        total: units in all; None: unknown.
        left: seconds; None: unknown.
        fields: values beside the bar, the most important one first.
    """
    time_left = f"{duration(left):>{TIME_WIDTH}} left" if left is not None else " " * (TIME_WIDTH + 5)
    parts = [count_text(done, total), time_left]
    room = width - sum(display_width(part) + len(GAP) for part in parts) + len(GAP)
    if display_width(label) + len(GAP) <= room:
        parts.insert(0, label)
        room -= display_width(label) + len(GAP)
    for field in fields:
        room -= display_width(field) + len(GAP)
        if room < 0:
            break
        parts.append(field)
    if room >= SHORTEST_BAR + len(GAP) and total:
        cells = min(LONGEST_BAR, room - len(GAP))
        full = min(cells, cells * done // total)
        parts.insert(1, "#" * full + "-" * (cells - full))
    return GAP.join(parts).rstrip()[:width]


def _cell(value: object) -> str:
    """Return a table cell's text: thousands separated, a dash for None."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else str(value)


def display_width(text: str) -> int:
    """Return how many terminal cells ``text`` takes."""
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)


def _is_number_or_none(value: object) -> bool:
    """Return whether a cell suits a right-aligned column."""
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))


def table_lines(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    """Return the header and the rows as aligned lines."""
    cells = [list(columns)] + [[_cell(value) for value in row] for row in rows]
    widths = [max(display_width(line[column]) for line in cells) for column in range(len(columns))]
    numeric = [
        bool(rows) and all(_is_number_or_none(row[column]) for row in rows) for column in range(len(columns))
    ]
    lines = []
    for line in cells:
        padded = [
            " " * (width - display_width(text)) + text
            if right
            else text + " " * (width - display_width(text))
            for text, width, right in zip(line, widths, numeric, strict=True)
        ]
        lines.append("  ".join(padded).rstrip())
    return lines


def utc_now() -> str:
    """Return the time as events carry it: UTC, ISO 8601 with milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
