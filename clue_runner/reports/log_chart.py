"""Charts with logarithmic axes: a curve and its bound, and several of them on one sheet.

In: numbers and words. Out: SVG as text, every word escaped; classes of the page's style give the colours.
Knows nothing about what is drawn.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

WIDTH, HEIGHT = 360, 230
LEFT, RIGHT, TOP, BOTTOM = 46, 12, 14, 40
POINTS = 200  # of a curve, evenly spaced in log x
DECADES = 5  # most that are labelled on an axis
# A sheet is a separate file, without the page's style.
STYLE = (
    "svg{background:#fff;font-family:system-ui,sans-serif}.grid{stroke:#dfe2e6}.word{fill:#5c646d;font-size:11px}"
    ".line{fill:none;stroke:#1f6fb2;stroke-width:1.8}.bound{fill:none;stroke:#97240f;stroke-width:1.5;"
    "stroke-dasharray:5 4}.strong{fill:#1d2125;font-size:12px;font-weight:600}"
)

Range = tuple[float, float]


@dataclass(frozen=True)
class Pair:
    """A curve and its bound: values after step 1, 2, ...; values of 0 or below are left out.

    Args:
        name: shown above the chart.
        curve: drawn as a line.
        bound: drawn dashed.
    """

    name: str
    curve: Sequence[float]
    bound: Sequence[float]


def value_range(pairs: Sequence[Pair]) -> Range:
    """Return the decades that contain all values above 0, so that charts can be compared."""
    values = [value for pair in pairs for value in (*pair.curve, *pair.bound) if 0 < value < math.inf]
    if not values:
        return 0.1, 1.0
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    return 10.0**low, 10.0 ** max(high, low + 1)


def log_chart(pair: Pair, limits: Range, *, title: str, x_title: str) -> Markup:
    """Return one chart, its values within ``limits``; ``title`` is for screen readers."""
    return Markup(  # every word has been escaped
        f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}" '
        f'xmlns="http://www.w3.org/2000/svg">{_inside(pair, limits, x_title)}</svg>'
    )


def sheet(pairs: Sequence[Pair], *, title: str, note: str, x_title: str, across: int = 3) -> str:
    """Return a complete SVG file with all charts, with equal limits; ``note`` explains the lines."""
    limits, down = value_range(pairs), math.ceil(len(pairs) / across)
    width, height = WIDTH * min(across, len(pairs)), (HEIGHT + 22) * down + 44
    parts = [
        f'<svg viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" '
        f'aria-label="{escape(title)}" xmlns="http://www.w3.org/2000/svg"><style>{STYLE}</style>'
        f"{_text(12, 18, title, 'start', 'strong')}{_text(12, 34, note, 'start')}"
    ]
    for number, pair in enumerate(pairs):
        x, y = number % across * WIDTH, number // across * (HEIGHT + 22) + 44
        parts.append(_text(x + LEFT, y + 12, pair.name, "start", "strong"))
        parts.append(f'<g transform="translate({x} {y + 14})">{_inside(pair, limits, x_title)}</g>')
    return "".join([*parts, "</svg>\n"])


def _inside(pair: Pair, limits: Range, x_title: str) -> str:
    """Return grid, words and the two lines."""
    steps = max(len(pair.curve), 2)
    low, high = (math.log10(limit) for limit in limits)

    def across(step: float) -> float:
        return round(LEFT + math.log10(step) / math.log10(steps) * (WIDTH - LEFT - RIGHT), 1)

    def up(value: float) -> float:
        share = (math.log10(value) - low) / (high - low)
        return round(HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM), 1)

    parts = []
    for power in _decades(round(low), round(high)):
        y = up(10.0**power)
        parts.append(f'<line class="grid" x1="{LEFT}" y1="{y}" x2="{WIDTH - RIGHT}" y2="{y}"/>')
        parts.append(_text(LEFT - 6, y + 4, f"{10.0**power:g}", "end"))
    for power in _decades(0, math.floor(math.log10(steps))):
        x = across(10.0**power)
        parts.append(f'<line class="grid" x1="{x}" y1="{TOP}" x2="{x}" y2="{HEIGHT - BOTTOM}"/>')
        parts.append(_text(x, HEIGHT - BOTTOM + 16, f"{10**power:,}", "middle"))
    parts.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 6, x_title, "middle"))
    for values, kind in ((pair.bound, "bound"), (pair.curve, "line")):
        for piece in _pieces(values):
            path = " ".join(f"{across(step)},{up(value)}" for step, value in piece)
            parts.append(f'<polyline class="{kind}" points="{path}"/>')
    return "".join(parts)


def _pieces(values: Sequence[float]) -> list[list[tuple[int, float]]]:
    """Return (step, value) thinned to what can be seen, cut where a value is not above 0."""
    count = len(values)
    places = sorted({round(count ** (one / (POINTS - 1))) for one in range(POINTS)} | {count})
    pieces: list[list[tuple[int, float]]] = [[]]
    for place in places:
        if 0 < values[place - 1] < math.inf:
            pieces[-1].append((place, float(values[place - 1])))
        elif pieces[-1]:
            pieces.append([])
    return [piece for piece in pieces if piece]


def _decades(low: int, high: int) -> list[int]:
    """Return powers of ten from ``low`` to ``high``, few enough to be labelled."""
    return list(range(low, high + 1, max(1, math.ceil((high - low + 1) / DECADES))))


def _text(x: float, y: float, words: str, anchor: str, kind: str = "word") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'
