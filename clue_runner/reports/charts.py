"""Charts as inline SVG: a curve with its best point, a reliability diagram.

In: numbers and words. Out: SVG as text that may appear in a page: every word is escaped here. Colours are
classes of the page's style, so that a chart follows light, dark and print. Knows nothing about runs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from markupsafe import Markup, escape

from clue_runner.metrics.calibration import Calibration

WIDTH, HEIGHT = 360, 210
LEFT, RIGHT, TOP, BOTTOM = 46, 12, 14, 40
ROW, STRIP_EDGE = 38, 16  # of a strip: its height with the name above, and the margin at its ends
POINTS = 400  # of a curve: more than it has pixels


def curve(
    points: Sequence[tuple[float, float]],
    *,
    title: str,
    x_title: str,
    best: tuple[float, float] | None = None,
    best_words: str = "",
) -> Markup:
    """Return a line through ``points``, steps to the right; ``best`` is marked and labelled.

    Args:
        points: (x, y) in order of x, at least one.
        title: what the values are, for screen readers.
        x_title: label of the horizontal axis.
        best: the point to mark.
        best_words: the label next to it.
    """
    thinned = list(points)[:: math.ceil(len(points) / POINTS)] if len(points) > POINTS else list(points)
    if thinned[-1] != points[-1]:
        thinned.append(points[-1])
    low_x, high_x = _widened(points[0][0], points[-1][0])
    low_y, high_y = _widened(min(y for _, y in points), max(y for _, y in points))
    ticks = _ticks(low_y, high_y)
    low_y, high_y = min(low_y, ticks[0]), max(high_y, ticks[-1])

    def place(x: float, y: float) -> tuple[float, float]:
        across = (x - low_x) / (high_x - low_x) * (WIDTH - LEFT - RIGHT)
        up = (y - low_y) / (high_y - low_y) * (HEIGHT - TOP - BOTTOM)
        return round(LEFT + across, 1), round(HEIGHT - BOTTOM - up, 1)

    parts = [_frame(title)]
    for tick in ticks:
        _, y = place(low_x, tick)
        parts.append(_line(LEFT, y, WIDTH - RIGHT, y, "grid") + _text(LEFT - 6, y + 4, f"{tick:g}", "end"))
    for tick in _whole_ticks(points[0][0], points[-1][0]):
        x, _ = place(tick, low_y)
        parts.append(_text(x, HEIGHT - BOTTOM + 16, f"{tick:,}", "middle"))
    parts.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 6, x_title, "middle"))
    path = " ".join(f"{x},{y}" for x, y in (place(*point) for point in thinned))
    parts.append(f'<polyline class="line" points="{path}"/>')
    if len(points) == 1:
        x, y = place(*points[0])
        parts.append(f'<circle class="dot" cx="{x}" cy="{y}" r="2.5"/>')
    if best is not None:
        x, y = place(*best)
        parts.append(f'<circle class="best" cx="{x}" cy="{y}" r="4.5"/>')
        anchor = "end" if x > WIDTH * 0.6 else "start"
        beside = y + 18 if y < TOP + 26 else y - 10
        parts.append(_text(x + (-8 if anchor == "end" else 8), beside, best_words, anchor, "strong"))
    return Markup("".join([*parts, "</svg>"]))  # every word has been escaped


def reliability(found: Calibration, *, title: str, x_title: str, y_title: str) -> Markup:
    """Return accuracy against probability: bars and the diagonal of perfect calibration."""
    side = HEIGHT - TOP - BOTTOM
    left = (WIDTH - side) / 2

    def place(x: float, y: float) -> tuple[float, float]:
        return round(left + x * side, 1), round(HEIGHT - BOTTOM - y * side, 1)

    parts = [_frame(title)]
    for tick in (0.0, 0.5, 1.0):
        x, _ = place(tick, 0)
        _, y = place(0, tick)
        parts.append(_line(left, y, left + side, y, "grid") + _text(left - 6, y + 4, f"{tick:g}", "end"))
        parts.append(_text(x, HEIGHT - BOTTOM + 16, f"{tick:g}", "middle"))
    for one in found.bins:
        x, y = place(one.low, one.accuracy)
        width, height = round((one.high - one.low) * side - 1.5, 1), round(one.accuracy * side, 1)
        words = escape(f"{one.low:.1f}-{one.high:.1f}: {one.count:,}, {one.accuracy:.3f}")
        parts.append(
            f'<rect class="bar" x="{x}" y="{y}" width="{width}" height="{height}">'
            f"<title>{words}</title></rect>"
        )
    parts.append(_line(*place(0, 0), *place(1, 1), "diagonal"))
    parts.append(_text(left + side / 2, HEIGHT - 6, x_title, "middle"))
    parts.append(_text(left - 30, TOP + 4, y_title, "end"))
    return Markup("".join([*parts, "</svg>"]))  # every word has been escaped


def strips(rows: Sequence[tuple[str, Sequence[float]]], *, title: str, chance: float | None = None) -> Markup:
    """Return a row of dots under each name, one per value, and a line at their mean; ``chance`` is dotted."""
    values = [value for _, some in rows for value in some]
    ticks = _ticks(*_widened(min(values), max(values)))
    low, high, height = ticks[0], ticks[-1], TOP + ROW * len(rows) + 24

    def across(value: float) -> float:
        return round(STRIP_EDGE + (value - low) / (high - low) * (WIDTH - 2 * STRIP_EDGE), 1)

    parts = [_frame(title, height)]
    for tick in ticks:
        parts.append(_line(across(tick), TOP, across(tick), height - 24, "grid"))
        parts.append(_text(across(tick), height - 8, f"{tick:g}", "middle"))
    if chance is not None and low <= chance <= high:
        parts.append(_line(across(chance), TOP, across(chance), height - 24, "chance"))
    for number, (name, some) in enumerate(rows):
        top = TOP + ROW * number
        middle, under = across(sum(some) / len(some)), top + ROW * 0.7
        parts.append(_text(STRIP_EDGE, top + 11, _fitted(name), "start", "strong"))
        parts.append(_line(middle, under - 8, middle, under + 8, "mean"))
        parts += [f'<circle class="dot" cx="{across(one)}" cy="{under:g}" r="3.5"/>' for one in some]
    return Markup("".join([*parts, "</svg>"]))  # every word has been escaped


def _fitted(name: str, most: int = 40) -> str:
    """Return a name that fits above a strip: its middle is omitted, since the ends tell models apart."""
    return name if len(name) <= most else f"{name[: most // 2]}…{name[-(most // 2 - 1) :]}"


def _frame(title: str, height: int = HEIGHT) -> str:
    """Return the opening tag; ``title`` is for screen readers."""
    return (
        f'<svg class="chart" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(title)}" '
        'xmlns="http://www.w3.org/2000/svg">'
    )


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<line class="{kind}" x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}"/>'


def _text(x: float, y: float, words: str, anchor: str, kind: str = "word") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'


def _widened(low: float, high: float) -> tuple[float, float]:
    """Return a range that is not empty; no loss and no score is below 0."""
    if high > low:
        return low, high
    margin = min(0.5, abs(low) / 2) or 0.5  # a constant learning rate is no line at 0
    return low - margin if low else 0.0, high + margin


def _ticks(low: float, high: float, about: int = 4) -> list[float]:
    """Return round numbers from at or below ``low`` to at or above ``high``."""
    rough = (high - low) / about
    power = 10.0 ** math.floor(math.log10(rough))
    size = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)
    first, last = math.floor(low / size), math.ceil(high / size)
    return [float(f"{number * size:.6g}") for number in range(first, last + 1)]


def _whole_ticks(low: float, high: float) -> list[int]:
    """Return a few whole numbers inside the range, including its ends."""
    first, last = round(low), round(high)
    return sorted({first, (first + last) // 2, last})
